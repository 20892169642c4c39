// Command nestbox is an IMAP server for small boxes: one static binary, one
// data folder.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"nestbox/cli"
)

func main() {
	m := cli.New()
	m.OwnProcess = true
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		// A second signal kills at once: who sends it doesn't want to wait.
		<-ctx.Done()
		stop()
	}()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			m.Reload()
		}
	}()
	os.Exit(m.Run(ctx, os.Args[1:]))
}
