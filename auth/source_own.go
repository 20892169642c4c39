package auth

// ownSource are the verifiers that nestbox made.
type ownSource struct{}

// match computes what the password gives. All secrets that share salt and
// iterations, as they do, cost one PBKDF2.
func (ownSource) match(c *claim) error {
	if c.reason != "" {
		if c.decoy.foreign != nil && !c.decoy.both {
			return nil
		}
		_, err := c.decoy.verifier.matches(c.password)
		return err
	}
	type shared struct {
		params *verifier
		stored []byte
	}
	var done []shared
	for i := range c.secrets.list {
		v := &c.secrets.list[i].verifiers[0]
		var stored []byte
		for _, d := range done {
			if v.sharing(d.params) {
				stored = d.stored
			}
		}
		if stored == nil {
			var err error
			if stored, _, err = v.keys(c.password); err != nil {
				return err
			}
			done = append(done, shared{v, stored})
		}
		if v.stores(stored) && c.matched == nil {
			c.matched = &c.secrets.list[i]
		}
	}
	return nil
}
