package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"nestbox/auth"
)

// maxPasswordLine bounds a password that is typed or piped in.
const maxPasswordLine = 4096

// passwordFlags are the ways to give a password. made says that the program
// made it up, so that the user must be told.
func passwordFlags(fs *pflag.FlagSet) func(e *env, prompt string) (password string, made bool, err error) {
	stdin := fs.Bool("password-stdin", false, "read the password from the first line of standard input")
	generate := fs.Bool("generate", false, "make a password and print it on standard output")
	return func(e *env, prompt string) (string, bool, error) {
		switch {
		case *stdin && *generate:
			return "", false, &usageError{text: "--password-stdin and --generate exclude each other"}
		case *generate:
			return auth.GeneratePassword(), true, nil
		case *stdin:
			password, err := readLine(e.Stdin)
			return password, false, err
		case !isTerminal(e.Stdin):
			return "", false, &usageError{text: "there is no terminal to ask for the password: use --password-stdin or --generate"}
		}
		password, err := e.askPassword(prompt)
		return password, false, err
	}
}

// readLine reads the first line, without its end, and nothing after it that
// isn't in the same buffer.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", &usageError{text: "the password on standard input is empty"}
	}
	return line, nil
}

func (e *env) askPassword(prompt string) (string, error) {
	first, err := e.askHidden(prompt)
	if err != nil {
		return "", err
	}
	second, err := e.askHidden("Once more")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	if first == "" {
		return "", errors.New("the password is empty")
	}
	return first, nil
}

// askHidden asks for a line that the terminal doesn't show.
func (e *env) askHidden(prompt string) (string, error) {
	f, ok := e.Stdin.(*os.File)
	if !ok {
		return "", errors.New("standard input is no terminal")
	}
	fmt.Fprintf(e.Stderr, "%s: ", prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(e.Stderr)
	return string(b), err
}

// confirm asks a question that only "y" or "yes" answers with yes.
func (e *env) confirm(question string) error {
	if !isTerminal(e.Stdin) {
		return &usageError{text: "there is no terminal to ask on: --yes says that it is meant"}
	}
	fmt.Fprintf(e.Stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(e.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not done")
}
