package storage

// keptCount: the count of expunged messages is that of the rows.
func (c *check) keptCount() {
	want, err := c.f.recountKept(c.tx)
	if err != nil {
		c.find("kept messages can't be counted: %v", err)
		return
	}
	if got, _ := readKeptCount(c.tx); got != want {
		c.find("kept messages are counted as %d of %d octets, there are %d of %d", got.Messages, got.Octets, want.Messages, want.Octets)
	}
	if used := c.usage(); used != c.f.used {
		c.find("the account's usage is counted as %+v, its mailboxes have %+v", c.f.used, used)
	}
}

func (c *check) usage() (u Usage) {
	_ = c.tx.Bucket(bucketMailboxes).ForEach(func(id, _ []byte) error {
		if m, err := c.f.mailboxRow(c.tx, MailboxID(id)); err == nil {
			u = u.plus(usageOf(&m))
		}
		return nil
	})
	return u
}
