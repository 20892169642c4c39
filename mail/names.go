package mail

// knownNames are the names of types, encodings and charsets that records hold
// as one octet, its place here. It only grows: the places are in records.
var knownNames = [...]string{
	"",
	"TEXT", "MULTIPART", "MESSAGE", "APPLICATION", "IMAGE", "AUDIO", "VIDEO",
	"PLAIN", "HTML", "CALENDAR", "ENRICHED", "CSV", "X-VCARD", "RFC822-HEADERS",
	"MIXED", "ALTERNATIVE", "RELATED", "SIGNED", "ENCRYPTED", "REPORT", "DIGEST",
	"RFC822", "GLOBAL", "DELIVERY-STATUS", "DISPOSITION-NOTIFICATION", "PARTIAL", "EXTERNAL-BODY",
	"OCTET-STREAM", "PDF", "ZIP", "MSWORD", "PGP-SIGNATURE", "PGP-ENCRYPTED", "PKCS7-SIGNATURE", "X-PKCS7-SIGNATURE",
	"ICS", "JSON", "XML", "MS-TNEF", "VND.MS-EXCEL", "RTF",
	"VND.OPENXMLFORMATS-OFFICEDOCUMENT.WORDPROCESSINGML.DOCUMENT",
	"VND.OPENXMLFORMATS-OFFICEDOCUMENT.SPREADSHEETML.SHEET",
	"JPEG", "JPG", "PNG", "GIF", "SVG+XML", "HEIC", "MPEG", "MP4", "WAV",
	"7BIT", "8BIT", "BINARY", "BASE64", "QUOTED-PRINTABLE",
	"US-ASCII", "UTF-8", "ISO-8859-1", "ISO-8859-15", "ISO-8859-2", "WINDOWS-1252", "WINDOWS-1251", "KOI8-R",
	"ISO-2022-JP", "SHIFT_JIS", "EUC-KR", "GB2312", "GBK", "GB18030", "BIG5",
}

var nameCodes = func() map[string]byte {
	m := make(map[string]byte, len(knownNames))
	for i, n := range knownNames {
		m[n] = byte(i)
	}
	return m
}()

// maxName bounds the names that are kept; longer ones are of no known type.
const maxName = 100

// intern is b as a string, without memory of its own for a known name.
func intern(b []byte) string {
	if i, ok := nameCodes[string(b)]; ok {
		return knownNames[i]
	}
	return string(b[:min(len(b), maxName)])
}
