package imap

import (
	"sync"
	"testing"
)

// TestModelHouseParallel: all at once. What each client believes must agree when
// it is quiet again.
func TestModelHouseParallel(t *testing.T) {
	t.Parallel()
	seed := max(*modelSeed, 1)
	t.Logf("seed %d, %d steps", seed, *modelSteps)
	h := newHouse(t)
	h.parallel = true
	clients := h.clients(seed)
	for range 1 + *modelSteps/1000 {
		h.blind = true
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() {
				for range min(*modelSteps, 1000) / len(clients) {
					c.step()
				}
			})
		}
		all.Wait()
		h.blind = false
		h.look("", nil)
		for _, c := range clients {
			c.agree()
		}
	}
}
