package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

// An office makes accounts, deletes them, brings them back and erases them.
type office struct {
	random *rand.Rand
	serial int
	// there tells of accounts that were made whether they are there; what was
	// under way at the kill may have happened.
	there   map[string]bool
	unclear string
}

func newOffice(seed uint64) *office {
	return &office{random: rand.New(rand.NewPCG(seed, 5)), there: map[string]bool{}}
}

// step is a command line and what it does to one account.
func (o *office) step() (args []string, name string, there bool) {
	var here, deleted []string
	for name, there := range o.there {
		if there {
			here = append(here, name)
		} else {
			deleted = append(deleted, name)
		}
	}
	slices.Sort(here)
	slices.Sort(deleted)
	switch dice := o.random.IntN(100); {
	case dice < 30 && len(here) > 0:
		return []string{"account", "delete", here[0], "--yes"}, here[0], false
	case dice < 45 && len(deleted) > 0:
		return []string{"account", "undelete", deleted[0]}, deleted[0], true
	case dice < 65 && len(here) > 0 || len(here) > 2:
		return []string{"account", "delete", here[0], "--now", "--yes"}, here[0], false
	}
	o.serial++
	name = fmt.Sprint("visitor", o.serial)
	return []string{"account", "add", name, "--password-stdin"}, name, true
}

// adminLoad: the office works while the clients do.
func (s *scene) adminLoad(r *round) error {
	if err := s.begin(r); err != nil {
		return s.unlessKilled(r, err)
	}
	ctx, cancel := r.alive()
	defer cancel()
	o := s.office
	for ctx.Err() == nil {
		args, name, there := o.step()
		erased := slices.Contains(args, "--now")
		o.unclear = name
		if _, err := s.n.Run(ctx, password+"\n", args...); err != nil {
			// The server was killed, unless the next one finds fault with it.
			return s.unlessKilled(r, err)
		}
		o.unclear = ""
		if o.there[name] = there; erased {
			delete(o.there, name) // it never comes back
		}
	}
	return nil
}

// settleOffice looks whether the accounts are there that must be, and no others.
func (s *scene) settleOffice() error {
	o := s.office
	out, err := s.n.Run(context.Background(), "", "account", "list", "--json")
	if err != nil {
		return err
	}
	var listed []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal([]byte(out), &listed); err != nil {
		return fmt.Errorf("account list: %w: %s", err, out)
	}
	found := map[string]bool{}
	for _, a := range listed {
		found[a.Name] = true
	}
	if o.unclear != "" {
		if _, known := o.there[o.unclear]; known || found[o.unclear] {
			o.there[o.unclear] = found[o.unclear]
		}
	}
	for name, there := range o.there {
		if found[name] != there {
			return fmt.Errorf("account %s is listed: %v; it should be: %v", name, found[name], there)
		}
		delete(found, name)
	}
	for _, name := range accounts {
		if !found[name] {
			return fmt.Errorf("account %s is gone", name)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		return fmt.Errorf("accounts that should not be there: %v", found)
	}
	if o.unclear != "" && !o.there[o.unclear] {
		delete(o.there, o.unclear) // deleted or erased: nobody knows
	}
	o.unclear = ""
	return nil
}
