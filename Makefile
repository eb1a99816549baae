# nbdbench. Bare make lists the targets.

GO      ?= go
BIN     := $(CURDIR)/bin
PREFIX  ?= /usr/local
TOOLS   := $(BIN)/staticcheck $(BIN)/gofumpt
SUDO    := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# Debian's packages that the tests talk to.
PEERS   := nbdkit libnbd-bin python3-libnbd qemu-utils fio nbd-client nbd-server \
           qemu-system-x86 busybox-static kmod e2fsprogs xfsprogs btrfs-progs sqlite3 dmsetup python3 postgresql

# Debian's packages of the programs whose requests are captured.
CAPTURED := sqlite3 postgresql mariadb-server mariadb-client redis-server etcd-server rocksdb-tools python3-lmdb

# The kernel that the virtual machine boots, and where its package is unpacked.
KERNEL  := linux-image-cloud-amd64
VM      := $(BIN)/vm

# A newer Debian, of which the newest peers and their test suites are run.
NEXT    := $(BIN)/next

# What has benchmarks.
BENCHED := ./sim ./devices/... ./nbd ./nbd/socket ./workloads ./results ./internal/bench

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/nbdbench
	$(GO) build -o $(BIN)/nbdbench ./cmd/nbdbench

run: ## the default comparison
	$(GO) run ./cmd/nbdbench run

# With a profile, go build compiles every package anew for the program: three times the work.
lint cross unit race interop test-kernel: export GOFLAGS := -pgo=off $(GOFLAGS)

# Minutes allotted on 2 cores, 16 in all: peers 1, lint 1, cross 1, unit 3, race 3, interop 3, test-kernel 4.
test: peers lint cross unit race interop test-kernel ## everything, as on a fresh Debian machine: installs what it needs

unit: ## all packages but interop, without the race detector, and each benchmark once
	$(GO) test -timeout 10m $$($(GO) list ./... | grep -v /internal/interop)
	$(GO) test -short -run '^$$' -bench . -benchtime 1x $(BENCHED)

race: ## what has goroutines or locks, under the race detector
	$(GO) test -race -short -timeout 10m ./sim ./devices/image ./nbd/...
	$(GO) test -race -short -timeout 10m ./nbd/socket -socket.dedicated 1
	$(GO) test -race -short -timeout 10m -run 'Function|Interrupted|Context|AFile|Cancel|Serve|CtrlC|Cores|RealTime|SIG' ./internal/bench ./internal/serve ./internal/calibrate ./internal/stack ./cmd/nbdbench

interop: ## against nbdkit, libnbd, qemu, fio and nbd-client
	NBDBENCH_REQUIRE_PEERS=1 $(GO) test -timeout 10m ./internal/interop

# Not a part of test: making the Debian alone takes some 7 minutes of processor time.
interop-next: build $(NEXT)/made ## against the newest peers and their suites, as root; its tables into docs/NBD.md
	NBDBENCH_PEERS_ROOT=$(NEXT) NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 60m ./internal/interop -update

test-kernel: $(VM)/boot ## /dev/nbd and file systems under power loss, in a virtual machine
	NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 20m ./internal/interop/kernel

guest-drives: $(VM)/boot ## what five kinds of drives of a virtual machine are sent for a commit
	NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 10m ./internal/interop/kernel -guest.run Drives

power-loss: $(VM)/boot ## the same with 200 power cuts for each file system and strategy: hours
	NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 12h ./internal/interop/kernel -guest.cuts 200 -guest.run 'FileSystems|SQLite'

# On this machine's kernel, as root, by loop devices and tracefs.
capture: captured ## what databases request from the device for a commit, into workloads/testdata/captures (as root)
	$(GO) test -v -count 1 -timeout 30m ./internal/interop/kernel -run TestCapturesOfPrograms -captures '$(or $(CAPTURES),.)' -update

# Slow: hours on two cores. FUA of direct writes is seen here alone.
capture-vm: captured $(VM)/boot ## the same in the virtual machine, for CAPTURES (postgres-wal-dsync)
	$(GO) test -v -count 1 -timeout 6h ./internal/interop/kernel -run TestCapturesOfPrograms -captures.vm -captures '$(or $(CAPTURES),^postgres-wal-dsync$$)' -update

# In real time, as root: each preset of torture under safe and unsafe settings, and kills.
survive: captured ## databases under SURVIVE (20) power cuts each, into docs/SURVIVAL.md, and 50 kill -9 (as root)
	$(GO) test -v -count 1 -timeout 6h ./cmd/nbdbench -run TestPresetsSurvive -survive.cuts $(or $(SURVIVE),20) -survive.apps '$(APPS)' -update
	$(GO) test -v -count 1 -timeout 1h ./cmd/nbdbench -run TestKillLeavesNothing -torture.kills $(or $(KILLS),50)

captured: ## install the programs whose requests are captured (Debian, as root or with sudo)
	@if ! command -v apt-get >/dev/null; then \
		echo "not Debian: install $(CAPTURED) yourself"; \
	elif ! dpkg -s $(CAPTURED) >/dev/null 2>&1; then \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(CAPTURED); \
	fi

lint: $(TOOLS) ## go vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	@out=$$($(BIN)/gofumpt -l .); [ -z "$$out" ] || { echo "gofumpt would change:"; echo "$$out"; exit 1; }

# The packages of the program, and no tests of other programs.
CROSS   := darwin/arm64 freebsd/amd64 windows/amd64

cross: ## go vet of the program for other systems, and the portable form's tests on this one
	for p in $(CROSS); do GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) vet $$($(GO) list -deps ./cmd/nbdbench | grep ^nbdbench) || exit 1; done
	$(GO) test -tags portable -short -timeout 5m ./sim ./nbd/socket

# Static, without paths of this machine: the same sources and Go make the same bytes.
RELEASE := linux/amd64 linux/arm64 darwin/arm64

release: ## dist/: the program for linux amd64 and arm64 and darwin arm64, with SHA256SUMS
	rm -rf dist && mkdir dist
	for p in $(RELEASE); do GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -buildid=' -o dist/nbdbench-$${p%/*}-$${p#*/} ./cmd/nbdbench || exit 1; done
	cd dist && sha256sum nbdbench-* >SHA256SUMS && cat SHA256SUMS

cover: ## how much of each package its own tests run, in percent
	@$(GO) test -cover -timeout 10m $$($(GO) list ./... | grep -v /internal/interop) | awk '/coverage:/ { for (i = 1; i <= NF; i++) if ($$i == "coverage:") printf "%7s  %s\n", $$(i+1), ($$1 == "ok" ? $$2 : $$1); next } /^(FAIL|---|panic)/ { print; bad = 1 } END { exit bad }'

bench: ## simulated I/O per second, and what each layer costs
	$(GO) test -pgo=cmd/nbdbench/default.pgo -run '^$$' -bench . -benchmem $(BENCHED)

memory: ## a drive of 16 TiB with 26 million blocks: how much is resident
	$(GO) test -v -count 1 -timeout 30m -run TestMemoryOfALargeDrive ./devices/ssd -ssd.blocks 26000000

pgo: ## renew the profile that go build optimises the program by
	$(GO) test -run '^$$' -bench 'Stack|DefaultPlan|SteadyFlash' -cpuprofile cmd/nbdbench/default.pgo -o $(BIN)/pgo.test ./internal/bench

swarm: ## a long run of the whole stack against the oracle
	$(GO) test ./internal/simtest -timeout 2h -simtest.runs 200000
	$(GO) test ./devices/drive -timeout 2h -run InRandomHistories -rapid.checks 2000000
	$(GO) test ./internal/crash -timeout 4h -run NoDurableStrategyBreaksAPromise -crash.cuts 1000000

# At the end of a target's time Go up to 1.26 may fail it with "context deadline
# exceeded" and nothing found (golang/go#75804): what was found is written.
fuzz: ## every fuzz target, for FUZZTIME each
	@log=$$(mktemp); trap 'rm -f "$$log" "$$log.ok"' EXIT; \
	for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; rm -f "$$log.ok"; \
			{ $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(FUZZTIME),20s) $$p 2>&1 && : >"$$log.ok"; } | tee "$$log"; \
			[ -e "$$log.ok" ] || { grep -q '^ *context deadline exceeded$$' "$$log" && ! grep -q 'Failing input written' "$$log"; } || exit 1; \
		done; done

honesty: $(VM)/boot ## 50 power cuts under a guest of which QEMU keeps the disks' promises, and 50 where it does not
	NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 2h ./internal/interop/kernel -run 'TestHonesty$$' -honesty.cuts 50

hostile: ## a million broken exchanges in the protocol's engines
	NBDBENCH_EXCHANGES=1000000 $(GO) test -v -count 1 -run BrokenExchanges ./nbd

mutants: ## lost wake-ups, put into the program one by one, are found (5 min)
	NBDBENCH_MUTANTS=1 $(GO) test -v -count 1 -timeout 1h -run Mutants ./internal/wake

attack: ## hostile clients and servers, and 500 kills, against the real program
	$(GO) test -v -count 1 -timeout 0 ./internal/attack -attack.exchanges 100000 -attack.connects 50000 -attack.reads 3000000 -attack.kills 500

kills: ## 200 kills of a server of a file, which lose nothing promised
	$(GO) test -v -count 1 -timeout 30m ./internal/attack -run TestKillOfAServedFile -attack.filekills 200

soak: ## a thousand NBD connections with a mixed load for SOAK (10m)
	NBDBENCH_SOAK=$(or $(SOAK),10m) $(GO) test -v -count 1 -timeout 0 -run Soak ./nbd/socket

bench-peers: ## our NBD server and client beside nbdkit, qemu-nbd and fio, into docs/PERFORMANCE.md (1 h)
	NBDBENCH_PEERS=$(or $(PEERTIME),500msx61) NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 0 -run BenchPeers ./internal/interop -update
	NBDBENCH_PEERS=$(or $(DELAYTIME),1sx9) NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 0 -run BenchDelays ./internal/interop -update

bench-drive: ## a device over the host's storage beside fio's libaio, and served files beside nbdkit and qemu-nbd (as root, 10 min)
	NBDBENCH_PEERS=$(or $(PEERTIME),500msx21) NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 0 -run 'BenchDrive|BenchServedFiles' ./internal/interop

bench-fio: ## what fio and our client measure of one served drive, in alternation (2 min)
	NBDBENCH_PEERS=$(or $(PEERTIME),500msx21) NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 0 -run BenchFioAgrees ./internal/interop

check-real: ## real time against virtual time, on this machine as it is
	NBDBENCH_TIMING=1 NBDBENCH_REQUIRE_PEERS=1 $(GO) test -v -count 1 -timeout 30m -run RealTime ./internal/interop

# Not a part of test: MQSim is built from its own source, elsewhere.
mqsim: ## MQSim (MQSIM: its program) and ssd-mqsim beside each other, into docs/notes/mqsim.md (10 min)
	$(GO) test -v -count 1 -timeout 1h -run TestBesideMQSim ./internal/calibrate -mqsim '$(abspath $(MQSIM))' -mqsim.update

reference: ## rewrite results/reference, byte for byte, from virtual time
	rm -rf results/reference/default
	$(GO) run ./cmd/nbdbench run --output results/reference/default >/dev/null

coverage: ## how often intervals and verdicts are right, and queues against theory, into docs/STATISTICS.md (10 min)
	$(GO) test -v -count 1 -timeout 2h -run TestCoverageOfIntervals ./results -coverage.trials $(or $(TRIALS),5000) -update
	$(GO) test -v -count 1 -timeout 2h -run OpenLoopOfAQueue ./internal/bench -queueing.commits 1000000 -update

install: build ## the program, its manual pages and completions below PREFIX (/usr/local); DESTDIR is in front
	install -D -m 755 $(BIN)/nbdbench $(DESTDIR)$(PREFIX)/bin/nbdbench
	$(BIN)/nbdbench man $(DESTDIR)$(PREFIX)/share/man/man1
	mkdir -p $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(BIN)/nbdbench completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/nbdbench
	$(BIN)/nbdbench completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_nbdbench
	$(BIN)/nbdbench completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/nbdbench.fish

gallery: ## bin/gallery: every chart and page of edge cases, to be looked at
	$(GO) test -count 1 -run TestGallery ./results -gallery $(BIN)/gallery

prometheus: ## serve --metrics, scraped by Debian's Prometheus (which must be installed)
	NBDBENCH_PROMETHEUS=1 $(GO) test -count 1 -v -run 'TestPrometheus|TestOpenMetrics' ./cmd/nbdbench

benchstat: $(BIN)/benchstat ## exports of runs, read by golang.org/x/perf's benchstat
	NBDBENCH_BENCHSTAT=$(BIN)/benchstat $(GO) test -count 1 -v -run TestBenchstat ./cmd/nbdbench

peers: ## install the programs that the tests talk to (Debian, as root or with sudo)
	@if ! command -v apt-get >/dev/null; then \
		echo "not Debian: install $(PEERS) yourself"; \
	elif ! dpkg -s $(PEERS) >/dev/null 2>&1; then \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(PEERS); \
	fi

# The kernel's package is unpacked here, not installed: the machine keeps its own.
$(VM)/boot: | peers
	rm -rf $(VM) $(VM).new && mkdir -p $(VM).new
	cd $(VM).new && apt-get download -q $$(apt-cache depends $(KERNEL) | awk '/Depends: linux-image-/ { print $$2; exit }')
	cd $(VM).new && dpkg-deb -x linux-image-*.deb . && rm linux-image-*.deb
	cd $(VM).new && PATH=$$PATH:/sbin:/usr/sbin depmod -b . $$(ls lib/modules)
	mv $(VM).new $(VM)

$(NEXT)/made: internal/interop/next.sh
	sh internal/interop/next.sh $(NEXT)

$(BIN)/staticcheck:
	GOBIN=$(BIN) $(GO) install honnef.co/go/tools/cmd/staticcheck@v0.8.2

$(BIN)/benchstat:
	GOBIN=$(BIN) $(GO) install golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

$(BIN)/gofumpt:
	GOBIN=$(BIN) $(GO) install mvdan.cc/gofumpt@v0.12.0

ci: test ## what CI runs, and nothing more

.PHONY: guest-drives benchstat gallery install prometheus cross release cover help build run test unit race interop interop-next lint test-kernel capture capture-vm captured survive power-loss bench memory pgo swarm fuzz honesty hostile mutants attack kills soak bench-peers bench-drive bench-fio check-real reference coverage peers ci mqsim
