package cli

import (
	"strings"

	"rsc.io/qr"
)

// quiet is how many light modules surround a QR code (ISO/IEC 18004 wants 4;
// readers make do with fewer where the rest of the terminal is dark).
const quiet = 4

// qrText draws a QR code with half blocks, two rows of modules a line: light
// modules are what is drawn, as terminals are dark. With colours it can be
// read on a light one too.
func qrText(text string, colours bool) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", err
	}
	before, after := "", ""
	if colours {
		before, after = "\x1b[97;40m", "\x1b[0m"
	}
	light := func(x, y int) bool { return !code.Black(x, y) } // outside too
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(before)
		for x := -quiet; x < code.Size+quiet; x++ {
			upper, lower := light(x, y), light(x, y+1) && y+1 < code.Size+quiet
			switch {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString(after + "\n")
	}
	return b.String(), nil
}
