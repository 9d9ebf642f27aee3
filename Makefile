# The commands of the project. The work is done by scripts/; this file is their list.
#
# `make demo` and `make test` do all the set-up they need on a fresh machine and say what they
# install before they do. ARGS reaches the program behind a target: make demo ARGS="--once".

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ARGS ?=
SOAK_ROUNDS ?= 300

.PHONY: help
help: ## list the targets (what a bare `make` does)
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: ## start the gateway with a simulated API per vendor, provision a directory, stay up (ARGS="--once")
	@scripts/demo $(ARGS)

.PHONY: test
test: ## every gate: format, lint, docs, licences, build, connectors, all tests, the judges
	@scripts/test

.PHONY: judges
judges: ## let foreign SCIM software (scim2-tester, scim2-cli) judge every tenant of the demo
	@scripts/setup test
	cargo build --workspace --bins
	@scripts/connectors
	@scripts/judges

.PHONY: build
build: ## build all programs and tests (debug) and the connectors
	@scripts/setup demo
	cargo build --workspace --bins --tests
	@scripts/connectors

.PHONY: connectors
connectors: ## build every connector to connectors/dist/*.wasm
	cargo build --workspace --bins
	@scripts/connectors

.PHONY: bench
bench: ## measure the corridor with release builds (ARGS reaches the benchmark)
	@scripts/bench $(ARGS)

.PHONY: soak
soak: ## kill the gateway under load, again and again; fuzz the SCIM engine (SOAK_ROUNDS=300)
	@scripts/soak $(SOAK_ROUNDS)

.PHONY: fmt
fmt: ## format all Rust code
	cargo fmt --all

.PHONY: lint
lint: ## check the format and run clippy; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## build the Rust docs with private items; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

.PHONY: deny
deny: ## check licences, banned crates and sources of all dependencies
	@scripts/deny

.PHONY: tidy
tidy: ## hold the layer table and the house rules (docs/style.md)
	cargo test --quiet --workspace --test tidy
