# The two commands a newcomer needs: `make demo` and `make test`. Everything else is a part of them.
SHELL := /bin/bash
# A pipe fails where any part of it does: a failing score must not read as `tail`'s success.
.SHELLFLAGS := -o pipefail -c
BIN := target/release/whostalled
SCENARIOS := $(wildcard scenarios/*.toml)

.PHONY: demo watch-demo capture-lab capture-failures capture-kills capture-bench capture-loss watch-failures watch-truth watch-bench rules test build deps deps-test lint deny unit scenarios failures rootless score-quick score score-healthy fuzz-smoke fuzz bench accuracy against-tshark golden schema clean

demo: build ## Install what is missing, build, run the flagship scenario, print the verdict
	$(BIN) run scenarios/overloaded-client.toml

watch-demo: build ## Scheduled checks in the lab: three faults come and go, a real Alertmanager hears of each
	@bash packaging/install-missing watch
	bash packaging/watch-demo/run

test: deps-test build lint deny unit rules score-quick fuzz-smoke scenarios failures watch-failures capture-failures capture-lab rootless ## Everything CI checks

build: deps
	cargo build --release --locked

deps:
	@bash packaging/install-missing demo

deps-test:
	@bash packaging/install-missing test

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny:
	bash packaging/cargo-deny check

unit:
	cargo test --locked --workspace

scenarios: build ## Run every scenario once, for real
	bash packaging/run-scenarios $(SCENARIOS)

failures: build ## What goes wrong around a run
	bash packaging/run-failures

watch-failures: build ## What goes wrong around `watch`: no alert may be lost
	timeout 300 python3 packaging/watch-failures

capture-lab: build ## The recorder at a lab edge: nginx, HAProxy, five faults, bulk data
	@bash packaging/install-missing capture
	timeout 300 bash packaging/capture-lab/run

capture-failures: build ## What goes wrong around `capture`: no torn file, no lost trigger
	timeout 300 python3 packaging/capture-failures

capture-kills: build ## The same with 200 kills
	KILLS=200 timeout 900 python3 packaging/capture-failures

capture-bench: build ## What the recorder misses and costs, beside tcpdump (minutes)
	@bash packaging/install-missing capture
	cargo build --release --locked -p whostalled-recorder -p whostalled-capture --example missed --example toll
	python3 packaging/capture-bench

capture-loss: build ## What the recorder misses at 2 % loss and 100 ms
	@bash packaging/install-missing capture
	cargo build --release --locked -p whostalled-recorder --example missed
	bash packaging/capture-loss/run

watch-truth: build ## A starved prober, a healthy and a slow edge, the wire as the truth
	@bash packaging/install-missing watch
	bash packaging/watch-truth

watch-bench: build ## CPU a probe beside blackbox_exporter; 10,000 checks a minute
	@bash packaging/install-missing watch
	bash packaging/watch-bench

rules: ## Prometheus rules, checked and unit-tested
	promtool check rules packaging/prometheus/whostalled.rules.yml
	cd packaging/prometheus && promtool test rules whostalled.rules.test.yml

rootless: build ## The flagship as an ordinary user
	bash packaging/run-rootless

against-tshark: ## explain against tshark's reading of your own captures: make against-tshark CAPTURES='a.pcap b.pcapng'
	@command -v tshark >/dev/null || { echo "tshark is not installed: apt-get install tshark"; exit 1; }
	mkdir -p target/against-tshark
	packaging/tshark-truth $(abspath $(CAPTURES)) > target/against-tshark/truth.csv
	WHOSTALLED_CORPUS=$(CURDIR)/target/against-tshark cargo test --release --locked -q -p whostalled-explain --test corpus every_connection -- --nocapture

score-quick: ## Simulated trials of the fault matrix, held to the goals
	cargo run --release --locked -q -p whostalled-score -- --trials 1 --seed 11 --hold 96 1 | tail -3

score: ## The same in full: the table of docs/score.md
	cargo run --release --locked -q -p whostalled-score -- --trials 8 --seed 1 > target/score.md
	@cat target/score.md

score-healthy: ## Healthy handshakes alone, enough of them to see one in a thousand blamed
	cargo run --release --locked -q -p whostalled-score -- --trials 300 $(foreach case,1 8 15 17 19 35 36,--case $(case)) | grep -E '^##|healthy blamed'

fuzz-smoke: ## Every fuzz target for a few seconds
	bash packaging/fuzz 5

fuzz: ## Every fuzz target for ten minutes; what found new code is kept
	bash packaging/fuzz 600 keep

bench: build ## How fast captures are read, against cat and tshark; then the stages
	cargo build --release --locked -p whostalled-sim
	bash packaging/bench
	cargo bench --locked -p whostalled-benches

accuracy: build ## Every scenario over many seeds, severities and round-trip times
	$(BIN) accuracy $(SCENARIOS)

golden: ## Rewrite the golden files of the analysis (read the diff before you commit it)
	INSTA_UPDATE=always cargo test --locked -p whostalled-analysis --test verdicts

schema: build
	$(BIN) schema > docs/scenario.schema.json
	$(BIN) watch --schema > docs/checks.schema.json
	$(BIN) capture --schema > docs/capture.schema.json

clean:
	cargo clean
