package wire

import "github.com/emersion/go-imap/v2"

// systemFlags are compared without case and returned as RFC 9051 writes them.
var systemFlags = []imap.Flag{
	imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft,
	imap.FlagForwarded, imap.FlagMDNSent, imap.FlagJunk, imap.FlagNotJunk, imap.FlagPhishing, imap.FlagImportant,
}

// Flag reads a flag: a keyword, or "\" and an atom. \Recent is none (RFC 9051
// §9, flag): no client can set it.
func (d *Decoder) Flag() imap.Flag {
	if !d.ready() {
		return ""
	}
	start := d.pos
	d.TryByte('\\')
	d.run(atomChar, "flag")
	if d.err != nil {
		return ""
	}
	flag := d.seg[start:d.pos]
	for _, known := range systemFlags {
		if equalFold(flag, string(known)) {
			return known
		}
	}
	if equalFold(flag, `\Recent`) {
		d.pos = start
		d.Fail(`flag other than \Recent`)
		return ""
	}
	return imap.Flag(flag)
}

// FlagList reads flag-list, "(" [flag *(SP flag)] ")". It is nil only after an
// error.
func (d *Decoder) FlagList() []imap.Flag {
	flags := make([]imap.Flag, 0, 4)
	d.Byte('(')
	if d.err == nil && !d.TryByte(')') {
		for flags = append(flags, d.Flag()); d.TrySP(); {
			flags = append(flags, d.Flag())
		}
		d.Byte(')')
	}
	if d.err != nil {
		return nil
	}
	return flags
}
