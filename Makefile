# Everything here sets up what it needs by itself; `make` alone lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo bench test lint fmt licences advisories contracts doc break-rules
.PHONY: fuzz soak simd test-ibc-v10

# `source` after the set-up: it may have installed the linker or the tools.
ENV := source scripts/env &&

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what the tests need, and say what is missing
	@scripts/setup

build: ## Build the `postrider` command in release mode (target/release/postrider)
	@scripts/setup --build
	@$(ENV) cargo build --locked --release -p postrider-cli

demo: ## Local EVM and ibc-go chains, messages between them, and each message's way (ARGS="--help" tells more)
	@scripts/setup --build
	@$(ENV) cargo run --locked -p postrider-cli -- demo $(ARGS)

bench: ## Measure LayerZero: 1,000 messages one by one, then batched (ARGS="--messages N"); a restart; and IBC
	@scripts/setup --build
	@$(ENV) cargo build --locked --release -p postrider-cli
	@$(ENV) target/release/postrider bench layerzero $(ARGS)
	@$(ENV) target/release/postrider bench layerzero --batched $(ARGS)
	@$(ENV) target/release/postrider bench restart
	@$(ENV) target/release/postrider bench ibc $(ARGS)

test: ## All checks, as CI runs them
	@.ci/run

lint: ## Formatting, spelling, clippy
	@scripts/setup
	@$(ENV) cargo fmt --all -- --check && cargo fmt --manifest-path fuzz/Cargo.toml -- --check && typos && \
		cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code
	@$(ENV) cargo fmt --all && cargo fmt --manifest-path fuzz/Cargo.toml

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

simd: ## Build the ibc-go test chain, once (4 to 7 minutes), and print where it is
	@scripts/simd

test-ibc-v10: ## The tests of IBC against ibc-go 10 too (CI runs them against 11)
	@scripts/setup
	@POSTRIDER_SIMD=v10 scripts/simd
	@$(ENV) POSTRIDER_SIMD=v10 RUST_TEST_THREADS=2 \
		cargo test --locked -p postrider-cli --test ibc --test ibc_channels

break-rules: ## Break each rule once, and see that the test that names it fails
	@scripts/setup --build
	@$(ENV) scripts/break-rules $(ARGS)

fuzz: ## Every fuzz target for 8 seconds: about two minutes (ARGS="packet options" chooses)
	@scripts/setup
	@$(ENV) scripts/fuzz 8 $(ARGS)

soak: ## 50 times kill -9 under 300 messages; then every fuzz target for SOAK_SECONDS (default 600)
	@scripts/setup
	@$(ENV) POSTRIDER_KILLS=$${POSTRIDER_KILLS:-50} POSTRIDER_MESSAGES=$${POSTRIDER_MESSAGES:-300} \
		cargo test --locked -p postrider-cli --test crash -- --nocapture
	@$(ENV) scripts/fuzz $${SOAK_SECONDS:-600} $(ARGS)
