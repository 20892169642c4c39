package imap

// separator stands between the levels of mailbox names.
const separator = "/"

var extNamespace = extension{
	name: "NAMESPACE", rfc: "RFC 2342", caps: []capability{{name: "NAMESPACE"}},
	commands: []*command{&cmdNamespace},
}

// NAMESPACE, RFC 9051 §6.3.10: the account's own mailboxes are at the root.
var cmdNamespace = command{name: "NAMESPACE", state: loggedIn, parse: noArguments(runNamespace)}

func runNamespace(s *session, _ *request) (reply, error) {
	others, shared := "NIL", "NIL"
	for _, x := range s.srv.tables.extensions {
		if x.namespaces != nil && s.has(x) {
			others, shared = x.namespaces(s)
		}
	}
	s.w.Raw(`* NAMESPACE (("" "` + separator + `")) ` + others + " " + shared).CRLF()
	return reply{}, nil
}
