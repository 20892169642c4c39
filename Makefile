# What people run by hand. .ci/run is the whole; `go run . serve` and
# `go test ./...` need no make.

# A failing test fails its pipe.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: small build test docs fuzz bench bench-quick oracle guessing torture crash power mixes churn disk backup corpus release ci

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o nestbox .

test:
	go test ./...

# The documents that are printed from tables in the code.
docs:
	go run . docs markdown > docs/cli.md
	go test ./config -run Reference -update
	UPDATE=1 go test ./imap -run ExtensionsDoc

# The portable transcripts against Debian's Dovecot.
oracle:
	NESTBOX_ORACLE=1 go test -count=1 ./test/oracle -v

# nestbox and Dovecot side by side; root, dovecot-core, dovecot-imapd.
bench:
	go run ./test/bench

bench-quick:
	go run ./test/bench -quick

# The long forms of tests that have a short form in `go test ./...`; each
# prints its figures. HACKING.md says how long they take.
torture: crash power mixes churn disk backup

crash:
	go test -count=1 -v ./test/crash -run Kill -rounds 1000 -timeout 60m | grep -v '^=== '

power:
	go test -count=1 -v ./storage -run PowerLoss -power-states 2000 -power-seed 0 -timeout 30m | grep -v '^=== \|^    --- PASS'

# 10 GB of synthetic mail backed up while 20 clients work; needs 25 GB in TMPDIR.
backup:
	TEST_BACKUP_GB=10 go test -count=1 -v ./test/e2e -run BackupStalls -timeout 90m | grep -v '^=== '

mixes:
	go test -count=1 -v ./storage -run MixesOfFiles -mixes 100 -timeout 30m | grep -v '^=== '

# 40 rounds of replacing a fifth of the mail: how large the files are then.
churn:
	go test -count=1 -v ./storage -run 'Churn|CompactionUnderLoad' -churn-mb 200 -churn-rounds 40 -timeout 60m | grep -v '^=== '

# More mail than a 32-bit machine has address space; TMPDIR needs 15 GB.
small:
	go test -count=1 -v ./test/e2e -run LittleAddressSpace -space-machine 386 -space-mb 3072 -timeout 90m | grep -v '^=== '
	go test -count=1 -v ./test/e2e -run LittleAddressSpace -space-machine mipsle -space-mb 1024 -timeout 90m | grep -v '^=== '

# Small real file systems that get full or are pulled out; root.
disk:
	go test -count=1 -v ./test/e2e -run 'DiskFull|PulledStick' -timeout 30m | grep -v '^=== '

# 10,000 guesses with the default ban_after.
guessing:
	go test -count=1 -v ./test/e2e -run Guessing -guessing-long -timeout 30m | grep -v '^=== '

corpus:
	go test -count=1 ./test/e2e/corpus -full -timeout 30m

# All binaries, held to their size gates, into dist/.
release:
	go run ./build

ci:
	.ci/run
