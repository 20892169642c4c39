package imap

import (
	"fmt"
	"io"
	"strings"
)

// An ExtensionInfo describes an extension for people: docs, the command line,
// the web page.
type ExtensionInfo struct {
	Name         string // by which it is switched off
	RFC          string
	Capabilities []string
	Enable       string // its name in ENABLE, or ""
	Fixed        bool   // can't be switched off
	Commands     []string
	// File and Transcripts are where it stands and what tests it, as far as
	// the sources are at hand.
	File        string
	Transcripts []string
}

// Extensions lists the extensions in the order of announcement.
func Extensions() []ExtensionInfo {
	var all []ExtensionInfo
	for _, x := range protocol() {
		info := ExtensionInfo{Name: x.name, RFC: x.rfc, Enable: x.enable, Fixed: x.fixed}
		for _, c := range x.caps {
			info.Capabilities = append(info.Capabilities, c.name)
		}
		for _, c := range x.commands {
			info.Commands = append(info.Commands, c.name)
		}
		all = append(all, info)
	}
	return all
}

// WriteExtensions writes docs/extensions.md.
func WriteExtensions(w io.Writer, all []ExtensionInfo) error {
	var b strings.Builder
	b.WriteString("# Extensions\n\nPrinted from the table in `imap/extension.go`; don't edit. All are complete, and on unless they are switched off:\n" +
		"those that can be are named in the configuration for the whole server, or for one account. Files are in `imap/`,\n" +
		"transcripts in `imap/testdata/script/`: those that name the specification.\n\n" +
		"| Name | Specification | Capabilities | Commands | Switched on by | Can be switched off | File | Transcripts |\n|-|-|-|-|-|-|-|-|\n")
	for _, x := range all {
		enable, off := "-", "yes"
		if x.Enable != "" {
			enable = "`ENABLE " + x.Enable + "`"
		}
		if x.Fixed {
			off = "no"
		}
		transcripts := strings.Join(x.Transcripts, " ")
		if n := len(x.Transcripts); n > manyTranscripts {
			transcripts = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", x.Name, x.RFC, strings.Join(x.Capabilities, " "), strings.Join(x.Commands, " "),
			enable, off, x.File, transcripts)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// manyTranscripts are counted, not listed.
const manyTranscripts = 16
