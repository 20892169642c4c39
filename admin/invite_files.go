package admin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"nestbox/storage"
	nesttls "nestbox/tls"
)

// An InviteFile is one of the files that set a device up.
type InviteFile struct {
	Name string `json:"name"`
	Type string `json:"type"` // Content-Type
	Data []byte `json:"data"`
}

// Names of the files.
const (
	indexFile   = "index.html"
	caDERFile   = "ca.crt"
	caPEMFile   = "ca.pem"
	profileFile = "mail.mobileconfig"
	configFile  = "config-v1.1.xml"
)

// An invited is what the files of an invitation are made of.
type invited struct {
	*Setup
	account storage.AccountInfo
	address string // may be ""
	invite  *storage.Invite
}

// inviteFiles makes all files for an account, the page first. With i the page
// says until when its link holds.
func inviteFiles(st *storage.Store, setup *Setup, info storage.AccountInfo, i *storage.Invite) ([]InviteFile, error) {
	address, err := inviteAddress(st, info)
	if err != nil {
		return nil, err
	}
	v := invited{setup, info, address, i}
	files := []InviteFile{
		{indexFile, "text/html; charset=utf-8", []byte(v.page())},
		{profileFile, "application/x-apple-aspen-config", []byte(v.profile())},
		{configFile, "text/xml; charset=utf-8", []byte(thunderbird(setup, addressDomain(address), info.Name))},
	}
	if setup.Root != nil {
		files = append(files,
			InviteFile{caDERFile, "application/x-x509-ca-cert", setup.Root.Raw},
			InviteFile{caPEMFile, "application/x-pem-file", nesttls.PEM(setup.Root)})
	}
	return files, nil
}

// A plist is Apple's property list, as XML.
type plist struct{ strings.Builder }

func (p *plist) str(key, value string) {
	element(&p.Builder, "key", key)
	element(&p.Builder, "string", value)
}

func (p *plist) number(key string, n int) {
	element(&p.Builder, "key", key)
	element(&p.Builder, "integer", itoa(n))
}

func (p *plist) yes(key string) {
	element(&p.Builder, "key", key)
	p.WriteString("<true/>\n")
}

// payload writes what every payload has.
func (p *plist) payload(kind, id, name, uuid string) {
	p.str("PayloadType", kind)
	p.number("PayloadVersion", 1)
	p.str("PayloadIdentifier", id)
	p.str("PayloadUUID", uuid)
	p.str("PayloadDisplayName", name)
}

// profile is a configuration profile for Apple's devices: the CA and the
// account, without a password, which the device asks for. Identifiers stay
// the same, so that installing it again replaces it.
// (github.com/apple/device-management, mdm/profiles: TopLevel, com.apple.mail.managed, com.apple.security.root)
func (v *invited) profile() string {
	id := "nestbox.account." + string(v.account.ID)
	var p plist
	p.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n" + `<plist version="1.0">` + "\n<dict>\n")
	p.payload("Configuration", id, v.Box+": "+v.account.Name, payloadUUID(id))
	p.str("PayloadOrganization", v.Box)
	p.str("PayloadDescription", "Mail of "+v.account.Name+" on "+v.Host)
	element(&p.Builder, "key", "PayloadContent")
	p.WriteString("<array>\n")
	if v.Root != nil {
		p.rootPayload(v.Root, id+".ca")
	}
	if m, ok := v.imap(); ok {
		p.WriteString("<dict>\n")
		p.payload("com.apple.mail.managed", id+".mail", v.Box, payloadUUID(id+".mail"))
		v.mailPayload(&p, m)
		p.WriteString("</dict>\n")
	}
	p.WriteString("</array>\n</dict>\n</plist>\n")
	return p.String()
}

func (p *plist) rootPayload(root *x509.Certificate, id string) {
	p.WriteString("<dict>\n")
	p.payload("com.apple.security.root", id, root.Subject.CommonName, payloadUUID(id+string(root.Raw)))
	p.str("PayloadCertificateFileName", caDERFile)
	element(&p.Builder, "key", "PayloadContent")
	element(&p.Builder, "data", base64.StdEncoding.EncodeToString(root.Raw))
	p.WriteString("</dict>\n")
}

func (v *invited) mailPayload(p *plist, in Service) {
	p.str("EmailAccountType", "EmailTypeIMAP")
	p.str("EmailAccountDescription", v.Box)
	p.str("EmailAccountName", v.account.Name)
	if v.address != "" {
		p.str("EmailAddress", v.address)
	}
	p.str("IncomingMailServerAuthentication", "EmailAuthPassword")
	p.str("IncomingMailServerHostName", in.Host)
	p.number("IncomingMailServerPortNumber", in.Port)
	p.yes("IncomingMailServerUseSSL") // STARTTLS too
	p.str("IncomingMailServerUsername", v.account.Name)
	if v.Send == nil { // a profile must have one: sending fails until the device gets another
		p.str("OutgoingMailServerAuthentication", "EmailAuthNone")
		p.str("OutgoingMailServerHostName", in.Host)
		return
	}
	p.str("OutgoingMailServerAuthentication", "EmailAuthPassword")
	p.str("OutgoingMailServerHostName", v.Send.Host)
	p.number("OutgoingMailServerPortNumber", v.Send.Port)
	p.yes("OutgoingMailServerUseSSL")
	if v.address != "" {
		p.str("OutgoingMailServerUsername", v.address)
	}
}

// payloadUUID is a UUID that always is the same for a name (version 8, RFC 9562 §5.8).
func payloadUUID(name string) string {
	b := sha256.Sum256([]byte("nestbox payload\x00" + name))
	b[6], b[8] = b[6]&0x0F|0x80, b[8]&0x3F|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
}
