# Everything here sets up what it needs by itself; `make` alone lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint fmt licences advisories contracts doc break-rules

# `source` after the set-up: it may have installed the linker or the tools.
ENV := source scripts/env &&

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what the tests need, and say what is missing
	@scripts/setup

build: ## Build the `postrider` command in release mode (target/release/postrider)
	@scripts/setup --build
	@$(ENV) cargo build --locked --release -p postrider-cli

demo: ## Two local chains, messages between them, and each message's way (ARGS="--help" tells more)
	@scripts/setup --build
	@$(ENV) cargo run --locked -p postrider-cli -- demo $(ARGS)

test: ## All checks, as CI runs them
	@.ci/run

lint: ## Formatting, spelling, clippy
	@scripts/setup
	@$(ENV) cargo fmt --all -- --check && typos && \
		cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code
	@$(ENV) cargo fmt --all

licences: ## Licences, banned crates and sources of all dependencies
	@scripts/setup
	@$(ENV) cargo deny --locked check licenses bans sources

advisories: ## Known vulnerabilities of dependencies (fetches the RustSec database from GitHub)
	@scripts/setup
	@$(ENV) cargo deny --locked check advisories

contracts: ## Compile our own contracts into contracts/out-abi, and test them
	@contracts/build
	@contracts/test

doc: ## The code's documentation (target/doc)
	@$(ENV) cargo doc --locked --workspace --no-deps

break-rules: ## Break each rule once, and see that the test that names it fails
	@scripts/setup --build
	@$(ENV) scripts/break-rules $(ARGS)
