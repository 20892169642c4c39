package imap_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nestbox/auth"
	server "nestbox/imap"
	"nestbox/storage"
	"nestbox/test/script"
)

const scriptPassword = "open sesame"

var scriptCredential = sync.OnceValues(func() ([]byte, error) { return auth.NewCredential(scriptPassword) })

// TestScript plays the transcripts, each at a server and a store of its own.
//
//	go test ./imap -run TestScript/copy
func TestScript(t *testing.T) {
	t.Parallel()
	all, err := script.Load("testdata/script")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no transcripts")
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if err := s.Play(startScriptServer(t, s.Options)); err != nil {
				t.Error(err)
			}
		})
	}
}

// startScriptServer serves a new store on loopback until the test ends; then
// the store must be sound, and the log without internal errors.
//
// Options of transcripts: literal-minus, tls, max-message N, message-limit N, off EXTENSION, quota N, quota_messages N, quota_mailboxes N,
// url-submitters LOGIN, read-timeout DURATION, idle-timeout DURATION; shared NAME=ACCOUNT, an account without a login of
// which ACCOUNT has all rights to INBOX; private NAME: \Seen is each login's own there; group NAME=ACCOUNT,ACCOUNT.
func startScriptServer(t *testing.T, options map[string]string) *script.Target {
	dir := t.TempDir()
	log := new(scriptLog)
	logger := slog.New(slog.NewTextHandler(log, nil))
	o := server.Options{Log: logger, Version: "1.0", ReadTimeout: 30 * time.Second}
	so := storage.Options{NoSync: true, Version: "test", Log: logger}
	house := &scriptHouse{t: t, log: log, shared: options["shared"], group: options["group"], private: options["private"]}
	for name, value := range options {
		if err := setScriptOption(t, &o, &so, name, value); err != nil {
			t.Fatalf("option %s %s: %v", name, value, err)
		}
	}
	must(t, storage.Init(dir))
	st, err := storage.Open(dir, so)
	must(t, err)
	if admins := options["admins"]; admins != "" {
		must(t, st.SetSetting(storage.SettingAdmins, admins))
	}
	o.Store, o.Auth = st, auth.New(st, auth.Options{})
	srv := server.NewServer(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, false) }()
	house.st = st
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-served
		house.close()
	})
	return &script.Target{
		Dial:    func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) },
		Account: house.account,
	}
}

// A scriptHouse is the store behind a transcript's server.
type scriptHouse struct {
	t        *testing.T
	st       *storage.Store
	log      *scriptLog
	accounts []*storage.Account
	shared   string // name=account
	group    string // name=account,account
	private  string // shared account in whose INBOX \Seen is private
}

// account makes an account.
func (h *scriptHouse) account(name string) (script.Account, error) {
	credential, err := scriptCredential()
	if err != nil {
		return script.Account{}, err
	}
	info, err := h.st.CreateAccount(name, credential)
	if err != nil {
		return script.Account{}, err
	}
	a, err := h.st.Account(info.ID)
	if err != nil {
		return script.Account{}, err
	}
	h.accounts = append(h.accounts, a)
	if err := h.share(info); err != nil {
		return script.Account{}, err
	}
	return script.Account{Login: name, Password: scriptPassword}, nil
}

// share makes the shared account and the group of the options, when the
// accounts that they name are there.
func (h *scriptHouse) share(info storage.AccountInfo) error {
	group, members, _ := strings.Cut(h.group, "=")
	if slices.Contains(strings.Split(members, ","), info.Name) {
		if err := h.st.SetGroup(info.ID, group, true); err != nil {
			return err
		}
	}
	name, owner, ok := strings.Cut(h.shared, "=")
	if !ok || owner != info.Name {
		return nil
	}
	shared, err := h.st.CreateSharedAccount(name)
	if err != nil {
		return err
	}
	a, err := h.st.Account(shared.ID)
	if err != nil {
		return err
	}
	h.accounts = append(h.accounts, a)
	inbox, err := a.MailboxByName("INBOX")
	if err == nil && h.private == name {
		err = a.SetPrivateSeen("INBOX", true)
	}
	if err != nil {
		return err
	}
	return a.ChangeACL(inbox.ID, storage.ACLChange{Who: storage.AccountIdentifier(info.ID), Rights: storage.AllRights})
}

// close looks what the transcript left behind.
func (h *scriptHouse) close() {
	for _, a := range h.accounts {
		if findings, err := a.Check(); err != nil || len(findings) > 0 {
			h.t.Errorf("check: %v %v", findings, err)
		}
	}
	if findings, err := h.st.Check(); err != nil || len(findings) > 0 {
		h.t.Errorf("check of the store: %v %v", findings, err)
	}
	if err := h.st.Close(); err != nil {
		h.t.Errorf("close: %v", err)
	}
	if text := h.log.String(); strings.Contains(text, "imap_panic") || strings.Contains(text, "imap_command_failed") {
		h.t.Errorf("the server logged:\n%s", text)
	}
}

func setScriptOption(t *testing.T, o *server.Options, so *storage.Options, name, value string) (err error) {
	switch name {
	case "literal-minus":
		o.LiteralMinus = true
	case "message-limit":
		o.MessageLimit, err = strconv.Atoi(value)
	case "tls":
		o.TLS = scriptTLS(t)
	case "shared", "group", "private": // of the house
	case "max-message":
		so.MaxMessage, err = strconv.ParseInt(value, 10, 64)
	case "off":
		o.Off = strings.Split(value, ",")
	case "read-timeout":
		o.ReadTimeout, err = time.ParseDuration(value)
	case "admins": // one that can be changed
		return nil
	case "quota", "quota_messages", "quota_mailboxes", "server_comment", "admin_contact":
		if so.Fixed == nil {
			so.Fixed = map[string]string{}
		}
		so.Fixed[name] = value
	case "url-submitters":
		if so.Fixed == nil {
			so.Fixed = map[string]string{}
		}
		so.Fixed[storage.SettingURLSubmitters] = value
	case "idle-timeout":
		o.IdleTimeout, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("unknown")
	}
	return err
}

func scriptTLS(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"box"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scriptLog is what the server logged.
type scriptLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *scriptLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *scriptLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
