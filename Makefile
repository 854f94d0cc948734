# `make demo` shows the program at work, `make test` runs what CI runs, `make bench` measures. Each installs what is missing into .tools and
# prints what it installs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export ALLUVIUM_BIN := $(TARGET)/release/alluvium
export ALLUVIUM_FLIGHTS_BIN := $(TARGET)/release/alluvium-example-flights

# The seed of the random searches is the commit: each commit searches elsewhere, and the same commit repeats its search.
export ALLUVIUM_SEED ?= $(shell printf '%d' 0x$$(git rev-parse --short=7 HEAD 2>/dev/null | cut -c1-7 || echo 1) 2>/dev/null || echo 1)
export ALLUVIUM_SEARCH_SECONDS ?= 60

.PHONY: demo test check tools program build acceptance bench steps nexmark torture fuzz docs packages

tools:
	@.ci/tools

# The program and the publisher of the flights example, without tests and benches.
program: tools
	cargo build --release -p alluvium -p alluvium-example-flights

build: tools
	cargo build --release --workspace

demo: program
	@examples/flights/demo.sh

# Compares speed, memory and delay with DuckDB and a client that only drains the stream. Writes benches/RESULTS.md in some minutes.
bench: build
	$(TARGET)/release/alluvium-benches

# Measures the cost of a step as state grows, by class. Writes benches/STEPS.md. Takes a minute.
steps: build
	$(TARGET)/release/alluvium-benches steps

# Compares Nexmark over files with Flink 2.3, which it installs into .tools/flink. Writes benches/NEXMARK.md. Takes half an hour.
nexmark: build
	$(TARGET)/release/alluvium-benches nexmark

# Kills, stops, cuts, fills, edits, damages and purges at random for MINUTES, from SEED, and compares every view with DuckDB after each round.
# `make test` does it for three.
torture: export ALLUVIUM_SEED := $(or $(SEED),$(ALLUVIUM_SEED))
torture: export ALLUVIUM_TORTURE_SECONDS := $(shell echo $$(( $(or $(MINUTES),10) * 60 )))
torture: tools
	cargo test --release -p alluvium --test torture -- --nocapture

# Has libFuzzer look for inputs that make the program panic, for MINUTES each: bodies, messages, SQL files, records and state files.
fuzz: tools
	@MINUTES=$(or $(MINUTES),10) engine/fuzz/run

check: tools
	cargo fmt --check
	.ci/structure
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo test --release --workspace --lib

test:
	@.ci/tools tests
	cargo fmt --check
	.ci/structure
	cargo clippy --release --workspace --all-targets -- -D warnings
	$(MAKE) build
	$(MAKE) acceptance
	observability/check
	engine/tests/console/check
	editors/schema --check $(ALLUVIUM_BIN)
	docs/check.py
	@echo "searching $(ALLUVIUM_SEARCH_SECONDS) seconds from ALLUVIUM_SEED=$(ALLUVIUM_SEED)"
	cargo test --release --workspace

# Builds the book into target/book.
docs:
	@command -v mdbook >/dev/null || { echo "mdbook is not installed: cargo install mdbook; the pages in docs/src are plain Markdown, too"; exit 1; }
	mdbook build docs --dest-dir $(TARGET)/book

# Compares the views of the flights example with the same SQL run by DuckDB over the same events.
acceptance: program
	@examples/flights/acceptance.sh

# Makes all packages from the program into dist/, and installs, runs and removes each in a bare root, as root. Takes some minutes.
packages: program
	packaging/build $(ALLUVIUM_BIN)
	packaging/try
