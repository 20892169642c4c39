package tls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	apiTime   = 30 * time.Second
	apiAnswer = 1 << 20 // bytes of an answer that are read
	apiError  = 200     // bytes of one that are told
)

// A dnsAPI is a provider's API over HTTP.
type dnsAPI struct {
	base   string
	header map[string]string // who we are: secret
	secret []string          // what must be in no error
}

// newDNSAPI is the API at server, if the file has that, else at usual.
func newDNSAPI(v dnsValues, usual string, header map[string]string, secret ...string) (dnsAPI, error) {
	a := dnsAPI{strings.TrimSuffix(v["server"], "/"), header, secret}
	if a.base == "" {
		a.base = usual
	}
	u, err := url.Parse(a.base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return a, errors.New("acme_dns_file: server must be an https address, with the beginning of all paths")
	}
	return a, nil
}

// An apiRefusal is an answer other than 2xx.
type apiRefusal struct {
	status int
	text   string
}

func (e *apiRefusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the provider answers %d %s: %s", e.status, http.StatusText(e.status), e.text))
}

// notThere reports whether the API doesn't know what it was asked for.
func notThere(err error) bool {
	e := new(apiRefusal)
	return errors.As(err, &e) && e.status == http.StatusNotFound
}

// call asks, with in as JSON if it isn't nil, and reads the answer into out,
// JSON or *string.
func (a *dnsAPI) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return errors.New("the provider's address is not good") // it may have a token in it
	}
	for k, v := range a.header {
		req.Header.Set(k, v)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := apiClient.Do(req)
	if err != nil {
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err // without the address
		}
		return fmt.Errorf("the provider can't be asked: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, apiAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &apiRefusal{resp.StatusCode, a.harmless(text)}
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *string:
		*out = string(text)
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return errors.New("the provider's answer is not as its documents say")
	}
	return nil
}

// apiClient follows no redirections: they would take the token along.
var apiClient = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// harmless is the beginning of an answer, without what is secret.
func (a *dnsAPI) harmless(text []byte) string {
	s := string(text)
	for _, secret := range a.secret {
		s = strings.ReplaceAll(s, secret, "...")
	}
	return strings.ToValidUTF8(s[:min(len(s), apiError)], "")
}

// quoted is a value as zone files have it.
func quoted(value string) string { return `"` + value + `"` }
