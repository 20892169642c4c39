package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// Remote is the API of the server behind a control socket.
type Remote struct {
	client *http.Client
	socket string
	status Status
}

// Dial connects to a control socket. ErrNoServer says that nobody listens.
func Dial(ctx context.Context, socket string) (*Remote, error) {
	r := &Remote{socket: socket}
	dialer := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, socket) }
	r.client = &http.Client{Transport: &http.Transport{DialContext: dialer, DisableCompression: true}}
	if err := r.call(ctx, http.MethodGet, "/v1/status", nil, nil, &r.status); err != nil {
		return nil, err
	}
	return r, nil
}

// Status is what the server said of itself.
func (r *Remote) Status() Status { return r.status }

// Close ends the connection.
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *Remote) do(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	// The host is never looked up: the dialer knows only the socket.
	u := url.URL{Scheme: "http", Host: "nestbox", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, r.dialError(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return nil, err
	}
	e := new(Error)
	if json.Unmarshal(b, e) != nil || e.Text == "" {
		e.Text = fmt.Sprintf("the server answers %s: %.200s", resp.Status, bytes.TrimSpace(b))
	}
	return nil, e
}

// dialError tells nobody listening from what went wrong later.
func (r *Remote) dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) ||
		errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%w on %s", ErrNoServer, r.socket)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// call sends a request with JSON and reads the answer into result.
func (r *Remote) call(ctx context.Context, method, path string, q url.Values, body, result any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	resp, err := r.do(ctx, method, path, q, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if result == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(result)
}

// Accounts lists the accounts.
func (r *Remote) Accounts(ctx context.Context) (all []Account, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/accounts", nil, nil, &all)
	return all, err
}

// AddAccount makes an account.
func (r *Remote) AddAccount(ctx context.Context, name, password string) (a Account, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/accounts", nil, loginRequest{name, password}, &a)
	return a, err
}

// SetPassword gives an account a new password.
func (r *Remote) SetPassword(ctx context.Context, name, password string) error {
	return r.call(ctx, http.MethodPost, "/v1/password", nil, loginRequest{name, password}, nil)
}

// DeleteAccount deletes an account.
func (r *Remote) DeleteAccount(ctx context.Context, name string) error {
	return r.call(ctx, http.MethodDelete, "/v1/accounts", url.Values{"name": {name}}, nil, nil)
}

// DeletionNotice is what who deletes an account is to be told before.
func (r *Remote) DeletionNotice(ctx context.Context, name string) (notice string, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/accounts/notice", url.Values{"name": {name}}, nil, &notice)
	return notice, err
}

// Addresses lists addresses.
func (r *Remote) Addresses(ctx context.Context, account string) (all []Address, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/addresses", url.Values{"account": {account}}, nil, &all)
	return all, err
}

// AddAddress gives an account an address.
func (r *Remote) AddAddress(ctx context.Context, account, address string) error {
	return r.call(ctx, http.MethodPost, "/v1/addresses", url.Values{"account": {account}, "address": {address}}, nil, nil)
}

// DeleteAddress deletes an address.
func (r *Remote) DeleteAddress(ctx context.Context, address string) error {
	return r.call(ctx, http.MethodDelete, "/v1/addresses", url.Values{"address": {address}}, nil, nil)
}

// Domains lists the domains.
func (r *Remote) Domains(ctx context.Context) (all []string, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/domains", nil, nil, &all)
	return all, err
}

// AddDomain adds a domain.
func (r *Remote) AddDomain(ctx context.Context, domain string) error {
	return r.call(ctx, http.MethodPost, "/v1/domains", url.Values{"domain": {domain}}, nil, nil)
}

// DeleteDomain deletes a domain.
func (r *Remote) DeleteDomain(ctx context.Context, domain string) error {
	return r.call(ctx, http.MethodDelete, "/v1/domains", url.Values{"domain": {domain}}, nil, nil)
}

// Settings lists what the household has set.
func (r *Remote) Settings(ctx context.Context) (all map[string]string, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/settings", nil, nil, &all)
	return all, err
}

// SetSetting stores a setting.
func (r *Remote) SetSetting(ctx context.Context, key string, value *string) error {
	return r.call(ctx, http.MethodPost, "/v1/settings", nil, settingRequest{key, value}, nil)
}

// Mailboxes lists an account's mailboxes.
func (r *Remote) Mailboxes(ctx context.Context, account string) (all []Mailbox, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/mailboxes", url.Values{"account": {account}}, nil, &all)
	return all, err
}

// Export reads a mailbox.
func (r *Remote) Export(ctx context.Context, account, mailbox string, f func(*Message, io.Reader) error) error {
	resp, err := r.do(ctx, http.MethodGet, "/v1/export", url.Values{"account": {account}, "mailbox": {mailbox}}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fr := newFrameReader(resp.Body)
	for {
		in, err := fr.next()
		switch {
		case err != nil:
			return serverLeft(ctx, err)
		case in.Error != nil:
			return in.Error
		case in.End:
			return nil
		case in.Message == nil:
			continue
		}
		if err := f(in.Message, fr.body()); err != nil {
			return err
		}
	}
}

// serverLeft names the end of a connection in the middle of an answer.
func serverLeft(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: the connection ended: %w", ErrNoServer, err)
}
