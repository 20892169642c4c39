package imap

// separator stands between the levels of mailbox names.
const separator = "/"

var extNamespace = extension{
	name: "NAMESPACE", rfc: "RFC 2342", caps: []capability{{name: "NAMESPACE"}},
	commands: []*command{&cmdNamespace},
}

// NAMESPACE, RFC 9051 §6.3.10: all mailboxes are the account's own.
var cmdNamespace = command{name: "NAMESPACE", state: loggedIn, parse: noArguments(runNamespace)}

func runNamespace(s *session, _ *request) (reply, error) {
	s.w.Raw(`* NAMESPACE (("" "` + separator + `")) NIL NIL`).CRLF()
	return reply{}, nil
}
