package tap

import "golang.org/x/sys/unix"

func init() {
	for nr, do := range map[int]func(*call) (int64, error){
		unix.SYS_RENAME: func(c *call) (int64, error) { return c.rename(here, c.args[0], here, c.args[1], 0) },
		unix.SYS_LINK:   func(c *call) (int64, error) { return c.link(here, c.args[0], here, c.args[1]) },
		unix.SYS_UNLINK: func(c *call) (int64, error) { return c.remove(here, c.args[0], 0) },
		unix.SYS_RMDIR:  func(c *call) (int64, error) { return c.remove(here, c.args[0], unix.AT_REMOVEDIR) },
		unix.SYS_MKDIR:  func(c *call) (int64, error) { return c.mkdir(here, c.args[0], uint32(c.args[1])) },
	} {
		handlers[nr] = do
	}
}
