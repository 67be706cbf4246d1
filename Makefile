# The two commands a newcomer needs: `make demo` and `make test`. Everything else is a part of them, or of the tiers in docs/ci.md.
SHELL := /bin/bash
# A pipe fails where any part of it does: a failing score must not read as `tail`'s success.
.SHELLFLAGS := -o pipefail -c
BIN := target/release/whostalled
GRADE := target/release/zoo-grade
SCENARIOS := $(wildcard scenarios/*.toml)
# The draw of make zoo (SEED=7 CASES=30) and of make accuracy-stacks
SEED := 1
CASES := 60
# Real recordings have this machine's own noise in them, hence the bars.
BARS := --right both=97 --wrong both=2 $(foreach end,edge client,--right-or-open $(end)=96 --wrong $(end)=2.5)

empty :=
comma := ,
# The suites with real processes, in so many seconds; up to two tests that fail are run once more, which is said.
e2e = cargo xtask suite $(1) $(2)
words-to-list = $(subst $(empty) ,$(comma),$(strip $(1)))
# What must not be skipped in `make test`: CI is root. Elsewhere: make test REQUIRE=
# Captures that are no part of this repository are required where they lie beside the checkout.
REQUIRE := $(call words-to-list,root bpf tools $(notdir $(foreach set,corpus reports faults,$(wildcard ../shared/$(set)))))

.PHONY: help demo watch-demo fleet-demo dist check test nightly
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: build ## Install what is missing, build, run the flagship scenario, print the verdict
	$(BIN) run scenarios/overloaded-client.toml

watch-demo: build ## Scheduled checks in the lab: three faults come and go, a real Alertmanager hears of each
	@cargo xtask install-missing watch
	$(call e2e,watch_demo,600)

fleet-demo: build ## A NATS server and twenty agents in the lab watch an edge; a detour that three of them have is named
	@cargo xtask install-missing fleet
	bash examples/fleet-demo/run

dist: ## The release artifacts, in target/packages: a static binary, a Debian package, a container image, checksums, SBOM; tried (root)
	@bash xtask/bootstrap
	@cargo xtask install-missing dist
	cargo xtask dist
	$(call e2e,packages,900)

# --- Tiers -----------------------------------------------------------------------------------------------------------------------

check: deps-test lint docs machete deny shellcheck unit rules kubernetes score-quick ## Before each commit, minutes: everything that needs no lab

# Together they need the same features of what they depend on: one by one, most of that would be compiled again for each.
check test nightly: export TOOLS := -p whostalled --features whostalled/native-histograms $(foreach tool,score sim zoo,-p whostalled-$(tool))
dashboards: export TOOLS := --features whostalled/native-histograms
# Whatever a part of it skips although it is required makes it fail (testing/).
test: export WHOSTALLED_REQUIRE := $(REQUIRE)
test: check build instructions fuzz-smoke zoo-recorded scenarios failures run-anywhere compare fleet first-run fleet-watch watch-failures probe-peer capture-failures capture-lab rootless zoo-small ## Everything CI checks: check, then everything that runs for real
	@cargo xtask run-again

nightly: export WHOSTALLED_REQUIRE := $(REQUIRE)
# What fails now and then is to be seen here: no suite has a second chance.
nightly: export WHOSTALLED_STRICT := 1
nightly: deps-nightly ec2 terraform score score-healthy mutations accuracy accuracy-stacks incidents incidents-often zoo-fresh fleet-kills anywhere-table capture-kills capture-loss watch-truth documented-commands pages dashboards dist first-day build-cost bench msrv advisories fuzz ## What takes hours, or another machine's luck

# --- Parts of check --------------------------------------------------------------------------------------------------------------

.PHONY: lint docs machete deny shellcheck unit rules kubernetes score-quick
lint: ## Format, and clippy without a warning
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets --features whostalled-e2e/run -- -D warnings

docs: ## The API's documentation without a warning
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items --quiet

machete: ## Dependencies that nothing uses
	cargo xtask machete

deny: ## Licences, bans and sources of what we depend on
	cargo xtask deny check licenses bans sources

shellcheck: ## Shell scripts
	shellcheck --severity=warning $$(grep -rlE --exclude='*.tftpl' '^#!.*\b(ba)?sh$$' xtask e2e examples benches dist terraform .ci)

unit: ## Unit tests, golden files, captures of others; more threads than cores, for some mostly wait
	RUST_TEST_THREADS=6 cargo test --locked --workspace --quiet --lib --bins --tests
	cargo test --locked --workspace --quiet --doc

rules: ## Prometheus rules, checked and unit-tested
	promtool check rules dist/prometheus/whostalled.rules.yml
	cd dist/prometheus && promtool test rules whostalled.rules.test.yml

kubernetes: build ## Manifests against schemas, and our files in them
	cargo xtask kubernetes

score-quick: ## Simulated trials of the fault matrix, held to the goals
	cargo build --release --locked $(or $(TOOLS),-p whostalled-score)
	target/release/whostalled-score --trials 1 --seed 11 --hold 96 1 | tail -5

# --- Parts of test ---------------------------------------------------------------------------------------------------------------

.PHONY: build deps deps-test deps-nightly ec2 ec2-build ec2-test ec2-dist python-tools terraform fuzz-smoke scenarios failures incidents run-anywhere compare fleet first-run fleet-watch anywhere watch-failures probe-peer capture-failures capture-lab rootless
build: deps
	cargo build --release --locked $(TOOLS)

deps:
	@bash xtask/bootstrap
	@cargo xtask install-missing demo

deps-test:
	@bash xtask/bootstrap
	@cargo xtask install-missing test

deps-nightly: deps-test
	@cargo xtask install-missing watch capture zoo dist

fuzz-smoke: ## Every fuzz target for a few seconds
	cargo xtask fuzz 3

scenarios: build ## Run every scenario once, for real
	cargo xtask scenarios $(SCENARIOS)

failures: build ## What goes wrong around a run
	$(call e2e,run_failures,600)

first-run: build ## A check without a file, files to begin with, the documented example, the log, OpenTelemetry
	$(call e2e,first_run,600)

watch-failures: build ## What goes wrong around `watch`: no alert may be lost
	$(call e2e,watch_failures,600)

probe-peer: build ## `/probe` beside Debian's blackbox_exporter: the same metrics with the same values
	$(call e2e,probe_peer,600)

capture-failures: build ## What goes wrong around `capture`: no torn file, no lost trigger
	$(call e2e,capture_failures,600)

anywhere: build ## Seven scenarios in process, over ssh and over NATS from twenty agents: the same verdicts
	$(call e2e,anywhere,1800)

run-anywhere: build ## Real targets on loopback, from here and over ssh, as root and as an ordinary user
	$(call e2e,run_anywhere,600)

# moto, the AWS CLI and grpc come from PyPI where they are not installed.
PYTHON_TOOLS := $(CURDIR)/target/python-tools
ec2 ec2-test terraform: export PATH := $(PYTHON_TOOLS)/bin:$(PATH)
python-tools:
	@command -v moto_server >/dev/null && command -v aws >/dev/null && python3 -c 'import grpc, grpc_tools, hcl2' 2>/dev/null || { \
	    python3 -m venv $(PYTHON_TOOLS) && $(PYTHON_TOOLS)/bin/pip install -q 'moto[ec2,server]' awscli grpcio grpcio-tools python-hcl2; }

ec2: ec2-test build ## The provider for EC2: the flagship on an instance that a model of EC2 launches into the lab; interrupted, killed, reaped
	$(call e2e,ec2,1200)

ec2-build: ## vantage-ec2 and the model of EC2, in a workspace of their own (minutes)
	cd vantage-ec2 && cargo build --locked --workspace

ec2-test: ec2-build python-tools ## Its unit tests, 10,000 random schedules, an endpoint of our own, moto; lints, licences
	cd vantage-ec2 && cargo fmt --check && cargo clippy --locked --workspace --all-targets -- -D warnings
	cd vantage-ec2 && cargo test --locked --workspace --quiet
	cargo xtask deny --manifest-path vantage-ec2/Cargo.toml --config vantage-ec2/deny.toml check licenses bans sources

# Its own suites, with the released program; in target/packages, which `make dist` empties first.
ec2-dist: ## The provider for EC2 as one static file, in target/packages, with checksum and SBOM; tried
	cargo xtask ec2-dist
	cd vantage-ec2 && WHOSTALLED_VANTAGE_EC2=$(CURDIR)/target/packages/whostalled-vantage-ec2 \
	    cargo test --locked --test endpoint --test refusals

terraform: python-tools ## Modules for AWS, without AWS: format, names, types, wiring, tests with mocks, checkov
	terraform/offline/check
	terraform/offline/checkov

incidents: build ## Eight incidents in the lab: would scheduled checks have caught them, and how fast?
	@cargo xtask install-missing test
	$(call e2e,incidents,1200)

compare: build ## Two edges compared: OpenSSL's servers, and the action for GitHub's runner
	$(call e2e,compare,300)

fleet: build ## Agents on a nats-server with certificates: the verdicts of this host, and what is lost when somebody is killed
	$(call e2e,fleet,1200)

fleet-watch: build ## A watch from agents: who is told what, and what is lost when somebody is killed
	@cargo xtask install-missing fleet
	$(call e2e,fleet_watch,1200)

capture-lab: build ## The recorder at a lab edge: nginx, HAProxy, five faults, bulk data
	@cargo xtask install-missing capture
	$(call e2e,capture_lab,600)

rootless: build ## The flagship and a wire as an ordinary user
	$(call e2e,rootless,600)

# --- The zoo: real stacks, recorded and graded ------------------------------------------------------------------------------------

.PHONY: zoo zoo-record zoo-recorded zoo-draws zoo-small zoo-fresh zoo-build
zoo-build: build
	cargo build --release --locked $(or $(TOOLS),-p whostalled-zoo)

zoo-recorded: zoo-build ## The kept recording, graded
	$(GRADE) zoo/recorded --binary $(BIN) $(BARS)

zoo-record: zoo-build
	rm -rf target/zoo
	target/release/whostalled-zoo --seed $(SEED) --cases $(CASES) --out target/zoo

zoo: zoo-record ## A fresh draw of real stacks with injected faults, recorded now and graded (root): SEED=1 CASES=60
	$(GRADE) target/zoo --binary $(BIN) --list $(BARS)

# Draws that docs/zoo.md is made of: as many as give three thousand handshakes.
SEEDS := 201 202 203 204 205 206
zoo-draws: zoo-build ## Several draws, recorded and graded as one (half an hour; root, an idle machine): the table of docs/zoo.md
	@rm -rf target/zoo-draws && mkdir -p target/zoo-draws/all
	@for seed in $(SEEDS); do \
	    target/release/whostalled-zoo --seed $$seed --cases $(CASES) --out target/zoo-draws/$$seed > target/zoo-draws/$$seed.log 2>&1 || exit 1; \
	    for case in target/zoo-draws/$$seed/*/; do ln -s "$(CURDIR)/$$case" target/zoo-draws/all/$$(basename $$case)-$$seed; done; \
	done
	@printf '```\n%s\n```\n' "$$($(GRADE) target/zoo-draws/all --binary $(BIN))"

zoo-small: zoo-build ## Six fresh cases of the stacks that are installed
	$(MAKE) zoo CASES=6 SEED=$$((10#$$(date +%j))) BARS='--right both=90 --wrong both=4'

zoo-fresh: zoo-build ## A hundred fresh cases, of all stacks
	WHOSTALLED_REQUIRE=$(REQUIRE),stacks $(MAKE) zoo CASES=100 SEED=$$(date +%s)

# --- Parts of nightly ------------------------------------------------------------------------------------------------------------

.PHONY: new-from-zoo library score score-healthy mutations accuracy accuracy-stacks incidents-often fleet-kills fleet-scale anywhere-table capture-kills capture-loss watch-truth documented-commands pages dashboards first-day build-cost bench msrv advisories fuzz
score: ## The fault matrix in full: writes the tables of docs/score.md
	cargo xtask tables docs/score.md

N := 50
new-from-zoo: build ## `new --from` on N recordings of the zoo: writes the table of docs/new.md (root)
	sed -i 's|^\(<!-- generated: .* new-trial \)[0-9]*|\1$(N)|' docs/new.md
	cargo xtask tables docs/new.md

library: build ## Every scenario and incident, run for real: docs/library.html (root, or user namespaces)
	cargo xtask library

score-healthy: ## Healthy handshakes alone, enough of them to see one in a thousand blamed
	cargo run --release --locked -q -p whostalled-score -- --trials 300 $(foreach case,1 8 15 17 19 35 36,--case $(case)) | grep -E '^##|healthy blamed'

mutations: ## Mistakes made in a copy of the core: which test notices each? (ten minutes; writes docs/mutations.md)
	cargo xtask tables docs/mutations.md
	@grep -qE '^([0-9]+) of \1 caught$$' docs/mutations.md || { echo "a mistake goes unnoticed, or the list is wrong: docs/mutations.md and what is said above"; exit 1; }

accuracy: build ## Every scenario over many seeds, severities and round-trip times
	$(BIN) accuracy $(SCENARIOS)

accuracy-stacks: build ## The same with clients and servers drawn of what is installed: SEED=1
	@cargo xtask install-missing zoo
	$(BIN) accuracy --draw $(SEED) --trials 3 $(SCENARIOS)

incidents-often: build ## incidents ten times each, and a hundred rounds of each with its fault off
	@cargo xtask install-missing test
	REPEAT=10 HEALTHY=100 $(call e2e,incidents,14400)

anywhere-table: build ## anywhere with ten runs each, and its table
	RUNS=10 $(call e2e,anywhere,36000)

fleet-kills: build ## fleet with 100 kills, and the demo
	KILLS=100 $(call e2e,fleet,7200) --include-ignored
	KILLS=100 $(call e2e,fleet_watch,7200)
	cargo xtask suite fleet_watch 1200 --ignored

fleet-scale: build ## What many agents of a watch cost one NATS server and one controller (AGENTS=10000)
	cargo test --release --locked -p whostalled-e2e --features run --test fleet_scale -- --ignored --nocapture

capture-kills: build ## capture-failures with 200 kills
	KILLS=200 $(call e2e,capture_failures,900)

capture-loss: build ## What the recorder misses at 2 % loss and 100 ms
	@cargo xtask install-missing capture
	cargo build --release --locked -p whostalled-recorder --example missed
	bash benches/scripts/capture-loss/run

watch-truth: build ## A starved prober, a healthy and a slow edge, the wire as the truth
	@cargo xtask install-missing watch
	$(call e2e,watch_truth,900)

first-day: dist ## From a bare Debian to the first verdict, check and recorder; prints how long each took
	$(call e2e,first_day,900)

build-cost: ## CPU seconds of a fresh build, of make demo, and of building again after a change
	cargo xtask build-cost

documented-commands: build ## Every command of README and docs, run as it stands
	$(call e2e,documented_commands,900)

pages: build ## Every page and report in a real browser: phone to wall, dark and light, keyboard, screen reader
	@cargo xtask install-missing pages
	npm ci --no-audit --no-fund --silent --prefix e2e/browser
	$(call e2e,pages,900)

dashboards: build ## Panels and rules against a real Prometheus, with classic and with native histograms
	$(call e2e,dashboards,600)

bench: build ## How fast captures are read, against cat and tshark, and with link-time optimisation; then the stages
	cargo build --release --locked -p whostalled-sim
	cargo xtask bench
	cargo build --profile dist --locked
	cargo xtask bench-against target/dist/whostalled
	cargo bench --locked -p whostalled-benches

instructions: build ## What a handshake, a line of JSON and a packet cost in instructions, held to what was written down
	cargo build --release --locked $(or $(TOOLS),-p whostalled-sim)
	cargo xtask instructions

msrv: ## Checks with the oldest Rust that Cargo.toml promises
	cargo xtask msrv

advisories: ## Known holes in what we depend on
	cargo xtask advisories

fuzz: ## Every fuzz target for ten minutes; what found new code is kept
	cargo xtask fuzz 600 --keep

# --- By hand ---------------------------------------------------------------------------------------------------------------------

.PHONY: against-tshark capture-bench watch-bench golden schema clean
against-tshark: ## explain against tshark's reading of your own captures: make against-tshark CAPTURES='a.pcap b.pcapng'
	@command -v tshark >/dev/null || { echo "tshark is not installed: apt-get install tshark"; exit 1; }
	mkdir -p target/against-tshark
	cargo xtask tshark-truth $(abspath $(CAPTURES)) > target/against-tshark/truth.csv
	WHOSTALLED_CORPUS=$(CURDIR)/target/against-tshark cargo test --release --locked -q -p whostalled-explain --test corpus every_connection -- --nocapture

capture-bench: build ## What the recorder misses and costs, beside tcpdump (minutes)
	@cargo xtask install-missing capture
	cargo build --release --locked -p whostalled-recorder -p whostalled-capture --example missed --example toll
	python3 benches/scripts/capture

watch-bench: build ## CPU a probe beside blackbox_exporter; 10,000 checks a minute
	@cargo xtask install-missing watch
	bash benches/scripts/watch

golden: ## Rewrite the golden files of the analysis (read the diff before you commit it)
	INSTA_UPDATE=always cargo test --locked -p whostalled-analysis --test verdicts --lib

schema: build ## Rewrite the schemas in docs
	$(BIN) schema > docs/scenario.schema.json
	$(BIN) watch --schema > docs/checks.schema.json
	$(BIN) capture --schema > docs/capture.schema.json
	$(BIN) compare --schema > docs/compare.schema.json

clean: ## Remove what was built
	cargo clean
