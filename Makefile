# The two commands a newcomer needs: `make demo` and `make test`. Everything else is a part of them.
SHELL := /bin/bash
BIN := target/release/whostalled
SCENARIOS := $(wildcard scenarios/*.toml)

.PHONY: demo test build deps deps-test lint deny unit scenarios failures rootless accuracy golden schema clean

demo: build ## Install what is missing, build, run the flagship scenario, print the verdict
	$(BIN) run scenarios/overloaded-client.toml

test: deps-test build lint deny unit scenarios failures rootless ## Everything CI checks

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

rootless: build ## The flagship as an ordinary user
	bash packaging/run-rootless

accuracy: build ## Every scenario over many seeds, severities and round-trip times
	$(BIN) accuracy $(SCENARIOS)

golden: ## Rewrite the golden files of the analysis (read the diff before you commit it)
	INSTA_UPDATE=always cargo test --locked -p whostalled-analysis --test verdicts

schema: build
	$(BIN) schema > docs/scenario.schema.json

clean:
	cargo clean
