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
func WriteExtensions(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Extensions\n\nPrinted from the table in `imap/extension.go`; don't edit. An extension that can be switched off is named\n" +
		"in the configuration for the whole server, or for one account.\n\n" +
		"| Name | Specification | Capabilities | Commands | Switched on by | Can be switched off |\n|-|-|-|-|-|-|\n")
	for _, x := range Extensions() {
		enable, off := "-", "yes"
		if x.Enable != "" {
			enable = "`ENABLE " + x.Enable + "`"
		}
		if x.Fixed {
			off = "no"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.Name, x.RFC, strings.Join(x.Capabilities, " "), strings.Join(x.Commands, " "), enable, off)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
