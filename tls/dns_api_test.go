package tls

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const apiToken = "token-of-a-test"

// A fakeDNS is the documented API of a provider, for the zone example.org (or
// box.duckdns.org), of which it keeps the TXT values by name.
type fakeDNS struct {
	t      *testing.T
	mu     sync.Mutex
	values map[string][]string
	ids    map[string][2]string // Cloudflare's, of name and value
}

func (f *fakeDNS) add(name, value string) { f.values[name] = append(f.values[name], value) }

func (f *fakeDNS) remove(name, value string) {
	f.values[name] = slices.DeleteFunc(f.values[name], func(v string) bool { return v == value })
}

func (f *fakeDNS) all() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s []string
	for name, values := range f.values {
		for _, v := range values {
			s = append(s, name+"="+v)
		}
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

func (f *fakeDNS) read(r *http.Request, into any) {
	text, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(text, into); err != nil || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s %s: body %q, %v", r.Method, r.URL, text, err)
	}
}

// unquoted is a value as zone files have it; providers want it so.
func (f *fakeDNS) unquoted(s string) string {
	v, ok := strings.CutPrefix(s, `"`)
	v, ok2 := strings.CutSuffix(v, `"`)
	if !ok || !ok2 {
		f.t.Errorf("the value %s is not quoted", s)
	}
	return v
}

// withToken answers 401 to who has no right to ask, and says the token again.
func withToken(header, want string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header) != want {
			http.Error(w, "not allowed: "+r.Header.Get(header), http.StatusUnauthorized)
			return
		}
		h(w, r)
	}
}

func (f *fakeDNS) cloudflare() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /zones", func(w http.ResponseWriter, r *http.Request) {
		zones := []map[string]string{}
		if r.URL.Query().Get("name") == "example.org" {
			zones = append(zones, map[string]string{"id": "zone1", "name": "example.org"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "result": zones})
	})
	mux.HandleFunc("POST /zones/zone1/dns_records", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Type, Name, Content string
			TTL                 int
		}
		f.read(r, &in)
		if in.Type != "TXT" || in.TTL < 60 {
			f.t.Errorf("%+v", in)
		}
		id := fmt.Sprint("record", len(f.ids))
		f.ids[id] = [2]string{in.Name, f.unquoted(in.Content)}
		f.add(in.Name, f.unquoted(in.Content))
		_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "result": map[string]string{"id": id}})
	})
	mux.HandleFunc("DELETE /zones/zone1/dns_records/{id}", func(w http.ResponseWriter, r *http.Request) {
		rec := f.ids[r.PathValue("id")]
		f.remove(rec[0], rec[1])
		_ = json.NewEncoder(w).Encode(map[string]any{"result": map[string]string{"id": r.PathValue("id")}})
	})
	return withToken("Authorization", "Bearer "+apiToken, mux.ServeHTTP)
}

func (f *fakeDNS) desec() http.Handler {
	type set struct {
		Subname, Type string
		TTL           int
		Records       []string
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /domains/{$}", func(w http.ResponseWriter, r *http.Request) {
		domains := []map[string]any{}
		if strings.HasSuffix(r.URL.Query().Get("owns_qname"), ".example.org") {
			domains = append(domains, map[string]any{"name": "example.org", "minimum_ttl": 3600})
		}
		_ = json.NewEncoder(w).Encode(domains)
	})
	mux.HandleFunc("GET /domains/example.org/rrsets/{sub}/TXT/", func(w http.ResponseWriter, r *http.Request) {
		s := set{Subname: r.PathValue("sub"), Type: "TXT", TTL: 3600}
		for _, v := range f.values[s.Subname+".example.org"] {
			s.Records = append(s.Records, quoted(v))
		}
		if s.Records == nil {
			http.Error(w, `{"detail":"Not found."}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"subname": s.Subname, "type": "TXT", "ttl": 3600, "records": s.Records})
	})
	mux.HandleFunc("PUT /domains/example.org/rrsets/{$}", func(w http.ResponseWriter, r *http.Request) {
		var in []set
		f.read(r, &in)
		if len(in) != 1 || in[0].Type != "TXT" || in[0].TTL < 3600 || in[0].Records == nil {
			http.Error(w, `{"ttl":["Ensure this value is greater than or equal to 3600."]}`, http.StatusBadRequest)
			return
		}
		f.values[in[0].Subname+".example.org"] = nil
		for _, v := range in[0].Records {
			f.add(in[0].Subname+".example.org", f.unquoted(v))
		}
		_ = json.NewEncoder(w).Encode(in)
	})
	return withToken("Authorization", "Token "+apiToken, mux.ServeHTTP)
}

func (f *fakeDNS) hetzner() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /zones/{zone}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("zone") != "example.org" {
			http.Error(w, `{"error":{"code":"not_found","message":"zone not found"}}`, http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, `{"zone":{"id":42,"name":"example.org"}}`)
	})
	mux.HandleFunc("POST /zones/example.org/rrsets/{name}/TXT/actions/{action}", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			TTL     *int
			Records []struct{ Value string }
		}
		f.read(r, &in)
		change := f.add
		if r.PathValue("action") == "remove_records" {
			change = f.remove
		} else if r.PathValue("action") != "add_records" || in.TTL == nil || *in.TTL < 60 {
			f.t.Errorf("%s %+v", r.URL, in)
		}
		for _, rec := range in.Records {
			change(r.PathValue("name")+".example.org", f.unquoted(rec.Value))
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"action":{"id":1,"status":"running"}}`)
	})
	return withToken("Authorization", "Bearer "+apiToken, mux.ServeHTTP)
}

func (f *fakeDNS) duckdns() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/update" || q.Get("domains") != "box" || q.Get("token") != apiToken {
			_, _ = io.WriteString(w, "KO")
			return
		}
		f.values["box.duckdns.org"] = nil // there is only one
		if q.Get("clear") != "true" {
			f.add("box.duckdns.org", q.Get("txt"))
		}
		_, _ = io.WriteString(w, "OK")
	})
}

func (f *fakeDNS) acmeDNS() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /update", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Subdomain, Txt string }
		f.read(r, &in)
		if r.Header.Get("X-Api-User") != "user" || in.Subdomain != "d420c923" || len(in.Txt) != 43 {
			http.Error(w, `{"error":"forbidden"}`, http.StatusForbidden)
			return
		}
		f.add("d420c923", in.Txt)
		_ = json.NewEncoder(w).Encode(map[string]string{"txt": in.Txt})
	})
	return withToken("X-Api-Key", apiToken, mux.ServeHTTP)
}

// TestDNSProviders: each sets two values of one name and removes its own
// again, and what it says of a refusal has no token in it.
func TestDNSProviders(t *testing.T) {
	const name = "_acme-challenge.mail.example.org"
	one, two := strings.Repeat("a", 43), strings.Repeat("b", 43)
	for provider, c := range map[string]struct {
		api              func(*fakeDNS) http.Handler
		file, name       string
		both, last, none string // values after two are set, one is removed, both are
	}{
		"cloudflare": {(*fakeDNS).cloudflare, "token = %s", name, name + "=" + one + " " + name + "=" + two, name + "=" + two, ""},
		"desec":      {(*fakeDNS).desec, "token = %s", name, name + "=" + one + " " + name + "=" + two, name + "=" + two, ""},
		"hetzner":    {(*fakeDNS).hetzner, "token = %s", name, name + "=" + one + " " + name + "=" + two, name + "=" + two, ""},
		"duckdns":    {(*fakeDNS).duckdns, "token = %s", "_acme-challenge.box.duckdns.org", "box.duckdns.org=" + two, "", ""},
		"acme-dns": {(*fakeDNS).acmeDNS, "username = user\nsubdomain = d420c923\nfulldomain = d420c923.auth.example\npassword = %s", name,
			"d420c923=" + one + " d420c923=" + two, "d420c923=" + one + " d420c923=" + two, "d420c923=" + one + " d420c923=" + two},
	} {
		t.Run(provider, func(t *testing.T) {
			f := &fakeDNS{t: t, values: map[string][]string{}, ids: map[string][2]string{}}
			h := c.api(f)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f.mu.Lock()
				defer f.mu.Unlock()
				h.ServeHTTP(w, r)
			}))
			defer server.Close()
			with := func(token string) dnsProvider {
				file := filepath.Join(t.TempDir(), "dns")
				if err := os.WriteFile(file, []byte("server = "+server.URL+"\n"+fmt.Sprintf(c.file, token)), 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := (&DNSOptions{Provider: provider, File: file}).solver()
				if err != nil {
					t.Fatal(err)
				}
				return s.provider
			}
			p := with(apiToken)
			first, second := dnsRecord{c.name, one}, dnsRecord{c.name, two}
			for i, step := range []struct {
				err  error
				want string
			}{
				{p.present(t.Context(), first), ""},
				{p.present(t.Context(), second), c.both},
			} {
				if step.err != nil || step.want != "" && f.all() != step.want {
					t.Errorf("step %d: %v, %q", i, step.err, f.all())
				}
			}
			if err := p.cleanup(t.Context(), first); err != nil || f.all() != c.last {
				t.Errorf("%v, %q", err, f.all())
			}
			if err := p.cleanup(t.Context(), second); err != nil || f.all() != c.none {
				t.Errorf("%v, %q", err, f.all())
			}
			// acme-dns has one name for all: who may use it, the CNAME says.
			if err := p.present(t.Context(), dnsRecord{"_acme-challenge.example.net", one}); err == nil && provider != "acme-dns" {
				t.Error("another's zone was changed")
			}
			p = with("wrong-token")
			if err := p.present(t.Context(), first); err == nil || strings.Contains(err.Error(), "wrong-token") {
				t.Errorf("a wrong token: %v", err)
			}
			server.Close()
			if err := p.present(t.Context(), first); err == nil || strings.Contains(err.Error(), "wrong-token") {
				t.Errorf("nobody there: %v", err)
			}
		})
	}
}
