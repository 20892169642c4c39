package auth

// A source is where passwords are checked. They are asked in the order of the
// list, until one knows the password; one of another kind (LDAP, a program) is one
// more file and one more line.
//
// What they compute together must not tell whether an account exists: for a claim
// that can't succeed they compute what they would for its decoy.
type source interface {
	// match sets the claim's matched if the password is one of the account's.
	match(c *claim) error
}

// sources are all there are.
var sources = []source{ownSource{}, foreignSource{}}

// match asks the sources.
func (c *claim) match() error {
	for _, s := range sources {
		if err := s.match(c); err != nil || c.matched != nil {
			return err
		}
	}
	return nil
}
