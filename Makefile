SHELL := bash
.DEFAULT_GOAL := help

TARGET := wasm32-wasip1
TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
# CI sets the Go and Rust caches; everything that is downloaded or built stays below these two.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BUILD_FILES := Cargo.lock .cargo/config.toml rust-toolchain.toml
SOURCES := $(shell find src -name '*.rs') Cargo.toml $(BUILD_FILES)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# rustup may be told not to install anything by itself.
.PHONY: toolchain
toolchain:
	@rustup target list --toolchain $(TOOLCHAIN) --installed 2>/dev/null | grep -qx $(TARGET) \
		|| rustup toolchain install $(TOOLCHAIN) --profile minimal --component clippy,rustfmt \
			--target $(TARGET) --no-self-update

policy.wasm: $(SOURCES) | toolchain ## Build the policy
	cargo build --locked --release --lib --target $(TARGET)
	cp $(TARGET_DIR)/$(TARGET)/release/rollout_guard.wasm $@

annotated-policy.wasm: policy.wasm metadata.yml README.md ## Build the policy with its metadata (needs kwctl)
	kwctl annotate -m metadata.yml -u README.md -o $@ policy.wasm

.PHONY: helm-plugin
helm-plugin: | toolchain ## Build rollout-guard-check as a Helm plugin, in target/helm-plugin/rollout-guard
	cargo build --locked --release --package rollout-guard-check
	mkdir -p $(TARGET_DIR)/helm-plugin/rollout-guard
	cp check/plugin.yaml $(TARGET_DIR)/release/rollout-guard-check $(TARGET_DIR)/helm-plugin/rollout-guard

.PHONY: demo
demo: policy.wasm ## Tell the story of the hook trap and of a config change, with recorded requests
	cargo run --quiet --locked --example demo

.PHONY: fmt
fmt: | toolchain ## Check the formatting
	cargo fmt --all -- --check

.PHONY: lint
lint: | toolchain ## Check with clippy, all targets and features
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

.PHONY: test
test: fmt lint policy.wasm ## Formatting, clippy, unit, property and wasm tests
	cargo test --locked --workspace --exclude cluster-tests

.PHONY: golden
golden: policy.wasm ## Write the golden answers anew, to be reviewed as a diff
	INSTA_UPDATE=always cargo test --locked --test recordings --test sessions

# What the tests on the cluster run. Both at once and with this feature, so that they are made of the same crates as those tests.
.PHONY: test-programs
test-programs:
	cargo build --locked --package rollout-guard-check --package testbed --features testbed/serve

.PHONY: e2e-tests
e2e-tests: policy.wasm test-programs ## bats with kwctl, where it is installed, and real Helm on a real cluster
	@if command -v kwctl >/dev/null && command -v bats >/dev/null; then \
		$(MAKE) annotated-policy.wasm && bats e2e-tests; \
	else \
		echo "kwctl and bats are not both installed: e2e-tests/*.bats did not run"; \
	fi
	cargo test --locked --package cluster-tests --package testbed --features testbed/serve

.PHONY: differential
differential: policy.wasm ## Compare N random releases with real Helm: make differential N=1000
	CASES=$(or $(N),150) cargo test --locked --package cluster-tests --test differential

.PHONY: load
load: policy.wasm test-programs ## Ask the webhook with 32 clients, then kill it while Helm upgrades: make load TIME=600
	DURATION=$(or $(TIME),60) KILLS=$(or $(KILLS),21) cargo test --locked --package cluster-tests --test load

.PHONY: bench
bench: policy.wasm noop.wasm ## Measure the policy, as ratios in one run
	cargo bench --locked --profile dev --bench policy

noop.wasm: benches/noop/src/lib.rs benches/noop/Cargo.toml $(BUILD_FILES) | toolchain
	cargo build --locked --release --package noop-policy --target $(TARGET)
	cp $(TARGET_DIR)/$(TARGET)/release/noop_policy.wasm $@

# Without a sanitizer it needs no other toolchain: what is looked for is panics, hangs and wrong answers of safe code.
.PHONY: fuzz
fuzz: | toolchain ## Fuzz each target for some seconds (needs cargo-fuzz): make fuzz TIME=3600
	for target in record manifest references request; do \
		mkdir -p fuzz/corpus/$$target; \
		cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target \
			-- -max_total_time=$(or $(TIME),60) -timeout=10 -rss_limit_mb=2048 || exit; \
	done

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -f policy.wasm annotated-policy.wasm noop.wasm
