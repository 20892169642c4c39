package mail

// A textDecoder gives the text of a part in UTF-8 from the octets of its body,
// piece by piece: without transfer encoding, charset and tags.
type textDecoder struct {
	transfer transfer
	charset  charsetReader
	html     htmlText
	isHTML   bool
	octets   []byte
	text     []byte
}

func (d *textDecoder) reset(subtype, encoding, charset string) {
	e := encodingOf(encoding)
	if e == encUnknown {
		e = encIdentity // as it is, it may still be found
	}
	d.transfer.reset(e)
	d.charset.reset(charset)
	d.html.reset()
	d.isHTML = subtype == "HTML"
}

// decode gives the text of the next octets; last says that they are the last.
// It lives until the next call.
func (d *textDecoder) decode(src []byte, last bool) []byte {
	if d.transfer.encoding != encIdentity {
		d.octets = d.transfer.append(d.octets[:0], src)
		if last {
			d.octets = d.transfer.finish(d.octets)
		}
		src = d.octets
	}
	if d.isHTML || !d.charset.ascii || len(d.charset.left) > 0 || hasEightBit(src) {
		d.text = d.charset.append(d.text[:0], src, last)
		src = d.text
	}
	if d.isHTML {
		d.octets = d.html.append(d.octets[:0], src)
		if last {
			d.octets = d.html.finish(d.octets)
		}
		src = d.octets
	}
	return src
}
