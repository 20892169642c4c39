package admin

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"nestbox/storage"
)

const invitePath = "/invite/"

// Invitations has w answer the links of invitations.
//
// A use is a device, told by its address, that fetches a file: to look at the
// page costs nothing, so that what shows previews of links, and bots, use
// nothing up. A device that was counted may fetch all files again until the
// time is over.
func Invitations(w *Web, st *storage.Store, setup func() (*Setup, error)) {
	w.Handle(invitePath, &inviteHandler{w.log, st, setup})
}

type inviteHandler struct {
	log   *slog.Logger
	st    *storage.Store
	setup func() (*Setup, error)
}

// What is unknown, used up, over, or of a deleted account gets the same answer
// as any path that isn't there. Neither token nor path is logged.
func (h *inviteHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !onlyMethods(w, r, http.MethodGet) {
		return
	}
	text, name, slash := strings.Cut(r.URL.Path[len(invitePath):], "/")
	if name == indexFile {
		name = ""
	}
	token, err := inviteEncoding.DecodeString(strings.ToLower(text))
	if err != nil || len(token) != inviteToken {
		notFound(w)
		return
	}
	device := device(r)
	i, err := h.st.Invite(token, device)
	if err == nil && !slash {
		http.Redirect(w, r, invitePath+strings.ToLower(text)+"/", http.StatusSeeOther)
		return
	}
	var file *InviteFile
	if err == nil {
		file, err = h.file(i, name)
	}
	if err == nil && file != nil && name != "" && r.Method == http.MethodGet {
		if ahead(r) {
			http.Error(w, "not ahead of time", http.StatusServiceUnavailable)
			return
		}
		var first bool
		if i, first, err = h.st.UseInvite(token, device); first {
			h.log.Info("invite_used", "peer", r.RemoteAddr, "account", string(i.Account), "file", name, "used", i.Used, "uses", i.Uses)
		}
	}
	switch {
	case errors.Is(err, storage.ErrNoInvite) || errors.Is(err, storage.ErrNoAccount) || err == nil && file == nil:
		notFound(w)
	case err != nil:
		h.log.Error("http_failed", "error", err)
		http.Error(w, "not available", http.StatusServiceUnavailable)
	default:
		file.serve(w)
	}
}

// file finds a file of an invitation, nil if there is none of the name.
func (h *inviteHandler) file(i storage.Invite, name string) (*InviteFile, error) {
	info, err := h.st.AccountInfo(i.Account)
	if err != nil {
		return nil, err
	}
	setup, err := h.setup()
	if err != nil {
		return nil, err
	}
	files, err := inviteFiles(h.st, setup, info, &i)
	for _, f := range files {
		if f.Name == name || name == "" && f.Name == indexFile {
			return &f, err
		}
	}
	return nil, err
}

func (f *InviteFile) serve(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", f.Type)
	h.Set("Content-Length", itoa(len(f.Data)))
	if f.Name == caDERFile || f.Name == caPEMFile {
		h.Set("Content-Disposition", `attachment; filename="nestbox-`+f.Name+`"`)
	}
	_, _ = w.Write(f.Data) // net/http leaves it out for HEAD
}

// device tells devices apart.
func device(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return ap.Addr().Unmap().WithZone("").String()
}

// ahead reports whether nobody has asked for the file yet: a browser that
// guesses what comes next, or a program that shows previews of links.
func ahead(r *http.Request) bool {
	for _, h := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := strings.ToLower(r.Header.Get(h)); strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
			return true
		}
	}
	agent := strings.ToLower(r.UserAgent())
	for _, word := range []string{"bot", "crawl", "spider", "preview", "facebookexternalhit", "whatsapp/", "slack-", "skypeuri", "scanner"} {
		if strings.Contains(agent, word) {
			return true
		}
	}
	return false
}
