package admin

import (
	"strings"
	"time"

	nesttls "nestbox/tls"
)

// page is what an invitation's link shows. Its links are relative, so that it
// works from a folder too. It needs no script.
func (v *invited) page() string {
	var b strings.Builder
	title := escaped("Mail for " + v.account.Name + " on " + v.Box)
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"robots\" content=\"noindex, nofollow\">\n<title>" + title + "</title>\n<style>" + pageStyle + "</style>\n</head>\n<body>\n<h1>" + title + "</h1>\n")
	if v.invite != nil {
		b.WriteString("<p>This link holds until " + v.invite.Until.UTC().Format(time.DateTime) + " UTC, for " + itoa(v.invite.Uses) + " devices. The password is not in it: have it at hand.</p>\n")
	}
	v.writeRoot(&b)
	v.writeApple(&b)
	v.writeAndroid(&b)
	v.writeThunderbird(&b)
	v.writeOutlook(&b)
	v.writeSettings(&b)
	b.WriteString("</body>\n</html>\n")
	return b.String()
}

func writeLink(b *strings.Builder, file, text string) {
	b.WriteString(`<p><a class="get" rel="nofollow" href="` + escaped(file) + `">` + escaped(text) + "</a></p>\n")
}

// writeRoot shows what people compare before they trust what they got.
func (v *invited) writeRoot(b *strings.Builder) {
	if v.Root == nil {
		return
	}
	b.WriteString("<p>Devices trust this box once they have the certificate of its own CA, <b>" + escaped(v.Root.Subject.CommonName) + "</b>. Compare its SHA-256 fingerprint with the one that <code>nestbox account invite</code> printed:</p>\n" +
		"<p><code>" + escaped(nesttls.Fingerprint(v.Root)) + "</code></p>\n")
}

func (v *invited) writeApple(b *strings.Builder) {
	b.WriteString("<h2>iPhone, iPad, Mac</h2>\n")
	writeLink(b, profileFile, "Get the profile")
	b.WriteString("<ol>\n<li>Open this page in Safari, get the profile, and allow it.</li>\n" +
		"<li>Settings › General › VPN &amp; Device Management (on a Mac: System Settings › General › Device Management): install it. It is shown as not signed. Enter the password.</li>\n")
	if v.Root != nil {
		b.WriteString("<li>iPhone and iPad: Settings › General › About › Certificate Trust Settings: turn the CA on.</li>\n")
	}
	b.WriteString("</ol>\n")
}

func (v *invited) writeAndroid(b *strings.Builder) {
	b.WriteString("<h2>Android</h2>\n")
	if v.Root != nil {
		writeLink(b, caDERFile, "Get the certificate")
	}
	b.WriteString("<ol>\n")
	if v.Root != nil {
		b.WriteString("<li>Settings › Security › More security settings › Encryption &amp; credentials › Install a certificate › CA certificate: choose the file from Downloads. Android warns that somebody could read along: who has the key of this CA is your box alone.</li>\n" +
			"<li>A mail program that doesn't use installed certificates asks at its first login: compare the fingerprint of its certificate with the one from <code>nestbox cert status</code>.</li>\n")
	}
	b.WriteString("<li>In the mail program, add an account by hand (IMAP), with the settings below.</li>\n</ol>\n")
}

func (v *invited) writeThunderbird(b *strings.Builder) {
	b.WriteString("<h2>Thunderbird</h2>\n")
	if v.Root != nil {
		writeLink(b, caPEMFile, "Get the certificate (PEM)")
	}
	b.WriteString("<ol>\n")
	if v.Root != nil {
		b.WriteString("<li>Settings › Privacy &amp; Security › Certificates › Manage Certificates › Authorities › Import: choose the file, and trust it to identify websites.</li>\n")
	}
	b.WriteString("<li>Account Settings › Account Actions › Add Mail Account. If the settings aren't found, Configure manually, with those below.</li>\n</ol>\n")
}

func (v *invited) writeOutlook(b *strings.Builder) {
	b.WriteString("<h2>Outlook</h2>\n<ol>\n")
	if v.Root != nil {
		b.WriteString(`<li>Windows: <a rel="nofollow" href="` + caDERFile + "\">get the certificate</a>, open it, Install Certificate › Local Machine (or Current User) › Place all certificates in the following store › Trusted Root Certification Authorities.</li>\n")
	}
	b.WriteString("<li>File › Add Account › Advanced options › Let me set up my account manually › IMAP, with the settings below.</li>\n</ol>\n")
}

func (v *invited) writeSettings(b *strings.Builder) {
	row := func(name, value string) {
		b.WriteString("<tr><td>" + escaped(name) + "</td><td><code>" + escaped(value) + "</code></td></tr>\n")
	}
	b.WriteString("<h2>Settings</h2>\n<table>\n")
	if v.address != "" {
		row("Address", v.address)
	}
	row("User name", v.account.Name)
	for _, m := range v.Mail {
		security := "STARTTLS"
		if m.TLS {
			security = "SSL/TLS"
		}
		row("Incoming, "+strings.ToUpper(m.Protocol), m.Host+", port "+itoa(m.Port)+", "+security+", normal password")
	}
	if v.Send != nil {
		security := "STARTTLS"
		if v.Send.TLS {
			security = "SSL/TLS"
		}
		row("Outgoing, SMTP", v.Send.Host+", port "+itoa(v.Send.Port)+", "+security)
	}
	b.WriteString("</table>\n")
	if v.Send == nil {
		b.WriteString("<p>This box has no server for outgoing mail: name the one of your provider.</p>\n")
	}
}
