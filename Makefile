SHELL := bash
.DEFAULT_GOAL := help

TARGET := wasm32-wasip1
TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
# What make builds goes below these two directories.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CACHE := $(abspath $(or $(ROLLOUT_GUARD_CACHE),.cache))
BUILD_FILES := Cargo.lock .cargo/config.toml rust-toolchain.toml
SOURCES := $(shell find src $(wildcard crates) -name '*.rs' -o -name Cargo.toml) Cargo.toml $(BUILD_FILES)

# Cargo compiles a dependency once for each set of features, and these depend on the packages that a command selects. So the commands
# select the same packages, and by the names of targets how much is compiled. What needs a cluster, and many more dependencies, is
# selected in CI and for tests on a cluster.
EVERYTHING := --workspace --features testbed/serve
SELECTED := $(if $(filter true,$(CI)),$(EVERYTHING),--workspace --exclude cluster-tests)

# They need a cluster (`serve` does not), so that Cargo neither runs nor checks them but by name.
CLUSTER_TESTS := --test differential --test guarded --test load --test real_helm --test refresh --test serve --test yaml_oracle

# `make tools` and `make cargo-fuzz` install programs here.
TOOLS := $(CACHE)/tools
export PATH := $(TOOLS)/bin:$(PATH)
CARGO_DENY := cargo-deny@0.20.2
CARGO_FUZZ := cargo-fuzz@0.13.2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# rustup can be configured not to install a pinned toolchain by itself, so this does.
.PHONY: toolchain
toolchain:
	@rustup target list --toolchain $(TOOLCHAIN) --installed 2>/dev/null | grep -qx $(TARGET) \
		|| rustup toolchain install $(TOOLCHAIN) --profile minimal --component clippy,rustfmt \
			--target $(TARGET) --no-self-update

##### Build

# Not `cargo build`: the library is also one for tests in Rust, and with both kinds in one command Cargo leaves out the LTO.
policy.wasm: $(SOURCES) | toolchain ## Build the policy
	cargo rustc --locked --release --lib --target $(TARGET) --crate-type cdylib
	cp $(TARGET_DIR)/$(TARGET)/release/rollout_guard.wasm $@

annotated-policy.wasm: policy.wasm metadata.yml README.md ## Build the policy with its metadata (needs kwctl)
	kwctl annotate -m metadata.yml -u README.md -o $@ policy.wasm

.PHONY: helm-plugin
helm-plugin: | toolchain ## Build rollout-guard-check as a Helm plugin, in target/helm-plugin/rollout-guard
	cargo build --locked --release --package rollout-guard-check
	mkdir -p $(TARGET_DIR)/helm-plugin/rollout-guard
	cp check/plugin.yaml $(TARGET_DIR)/release/rollout-guard-check $(TARGET_DIR)/helm-plugin/rollout-guard
	$(TARGET_DIR)/release/rollout-guard-check completion helm > $(TARGET_DIR)/helm-plugin/rollout-guard/completion.yaml

.PHONY: demo
demo: policy.wasm ## Show the hook trap and a config change, with recorded requests
	cargo build --locked $(SELECTED) --bin demo
	$(TARGET_DIR)/debug/demo

##### Check

.PHONY: fmt
fmt: | toolchain ## Check the formatting of Rust files
	cargo fmt --all -- --check

.PHONY: format
format: | toolchain ## Format Rust and TOML files
	cargo fmt --all
	$(call tool,taplo,RUST_LOG=warn taplo fmt)

.PHONY: lint
lint: | toolchain ## Run clippy on all targets, but for those that need a cluster
	cargo clippy --locked $(SELECTED) --all-targets -- -D warnings

.PHONY: lint-everything
lint-everything: | toolchain ## Run clippy on all targets and features
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked --workspace --all-features $(CLUSTER_TESTS) -- -D warnings

.PHONY: doc
doc: | toolchain ## Build the API documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked $(SELECTED) --no-deps

.PHONY: test
test: fmt lint hygiene doc policy.wasm ## Run all checks, then the unit, property, doc and wasm tests
	cargo test --locked $(SELECTED)

.PHONY: generate
generate: | toolchain ## Write the files that are generated from the code: docs of findings and settings, schema, questions
	cargo xtask generate

.PHONY: hygiene
hygiene: spelling toml workflows dependencies ## Check spelling, TOML files, workflows and dependencies

# $(call tool,program,command): runs the command. If the program is not installed, this fails in CI and is skipped elsewhere.
define tool
@if command -v $(1) >/dev/null; then \
	echo '$(2)'; $(2); \
elif [ "$$CI" = true ]; then \
	echo '$(1) is not installed. To install it, run: make tools' >&2; exit 1; \
else \
	echo 'skipped: $(1) is not installed. To install it, run: make tools'; \
fi
endef

.PHONY: spelling
spelling: ## Check the spelling, with typos
	$(call tool,typos,typos)

.PHONY: toml
toml: ## Check the formatting of TOML files, with taplo
	$(call tool,taplo,RUST_LOG=warn taplo fmt --check --diff)

.PHONY: workflows
workflows: ## Check the GitHub workflows with actionlint, and the shell scripts in them and in .ci with ShellCheck
	$(call tool,actionlint,actionlint)
	$(call tool,shellcheck,shellcheck .ci/run)

# fuzz/ is a workspace of its own, and has only some of what deny.toml allows. Of a crate that names no licence, cargo-deny reads the
# licence file, and fails if it finds none.
DENY := cargo deny --locked --workspace --config deny.toml
DENY_FUZZ := $(DENY) --manifest-path fuzz/Cargo.toml
.PHONY: dependencies
dependencies: ## Check licences, bans and sources of the dependencies, with cargo-deny
	$(call tool,cargo-deny,$(DENY) check -A no-license-field -A license-exception-not-encountered bans licenses sources)
	$(call tool,cargo-deny,$(DENY_FUZZ) check -A no-license-field -A license-exception-not-encountered -A license-not-encountered -A unused-wrapper bans licenses sources)

# Not part of `make test`: it downloads a database from GitHub, and its result changes without a change of the code.
.PHONY: advisories
advisories: ## Check the dependencies for known vulnerabilities, with cargo-deny (needs GitHub)
	$(call tool,cargo-deny,$(DENY) check advisories)
	$(call tool,cargo-deny,$(DENY_FUZZ) check advisories)

##### Tools

.PHONY: tools
tools: cargo-deny ## Install the programs of `make hygiene` below .cache (needs python3 and Go)
	python3 -m venv --clear $(TOOLS)/python
	$(TOOLS)/python/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement .ci/tools/requirements.txt
	mkdir -p $(TOOLS)/bin
	ln -sf ../python/bin/shellcheck ../python/bin/taplo ../python/bin/typos $(TOOLS)/bin
	cd .ci/tools && CGO_ENABLED=0 GOBIN=$(TOOLS)/bin go install -trimpath tool

# Without optimisation it takes a third less time to compile, and seconds to run.
.PHONY: cargo-deny
cargo-deny:
	cargo install --locked --debug --root $(TOOLS) $(CARGO_DENY)

.PHONY: cargo-fuzz
cargo-fuzz: ## Install the program of `make fuzz` below .cache
	cargo install --locked --root $(TOOLS) $(CARGO_FUZZ)

##### Longer tests

.PHONY: golden
golden: policy.wasm ## Rewrite the golden answers and reports; review the diff
	INSTA_UPDATE=always cargo test --locked $(SELECTED) --test wasm --test reports

# The programs that the tests on the cluster start.
.PHONY: test-programs
test-programs: | toolchain
	cargo build --locked $(EVERYTHING) --bins

.PHONY: e2e-tests
e2e-tests: lint-everything policy.wasm test-programs ## Run the bats files with kwctl, if installed, and real Helm on a real cluster
	@if command -v kwctl >/dev/null && command -v bats >/dev/null; then \
		$(MAKE) annotated-policy.wasm && bats e2e-tests; \
	else \
		echo "skipped: e2e-tests/*.bats need kwctl and bats, which are not both installed"; \
	fi
	cargo test --locked $(EVERYTHING) $(CLUSTER_TESTS)

.PHONY: differential
differential: policy.wasm ## Compare N random releases with real Helm: make differential N=1000 SEED=7
	CASES=$(or $(N),150) cargo test --locked $(EVERYTHING) --test differential

.PHONY: yaml-oracle
yaml-oracle: ## Compare how the policy and Helm read N random YAML texts: make yaml-oracle N=60000 SEED=7
	CASES=$(or $(N),20000) cargo test --locked $(EVERYTHING) --test yaml_oracle

.PHONY: load
load: policy.wasm test-programs ## Send requests with 32 clients, then kill the webhook while Helm upgrades: make load TIME=600
	DURATION=$(or $(TIME),60) KILLS=$(or $(KILLS),21) cargo test --locked $(EVERYTHING) --test load

.PHONY: gitops
gitops: policy.wasm test-programs ## Run the deletion guard against Flux's kustomize-controller, Argo CD's engine, Argo Rollouts and kapp (a quarter of an hour more to build)
	GITOPS=1 cargo test --locked $(EVERYTHING) --test guarded -- gitops

.PHONY: real-charts
real-charts: test-programs ## Check what rollout-guard-check says of real charts: make real-charts CHARTS=folder (with <chart>/<version>/Chart.yaml)
	CHARTS=$(abspath $(CHARTS)) cargo test --locked --package cluster-tests --package testbed --features testbed/serve --test guarded -- 'real charts' --test-threads=1

.PHONY: refresh
refresh: policy.wasm test-programs ## Kill rollout-guard-refresh again and again, and give it much to do: make refresh KILLS=100 WORKLOADS=5000
	KILLS=$(or $(KILLS),100) WORKLOADS=$(or $(WORKLOADS),5000) CHANGES=$(or $(CHANGES),101) \
		cargo test --locked $(EVERYTHING) --test refresh -- --nocapture

.PHONY: bench
bench: policy.wasm noop.wasm ## Measure the policy, as ratios within one run
	cargo bench --locked --package testbed-wasmtime --bench policy

noop.wasm: benches/noop/src/lib.rs benches/noop/Cargo.toml $(BUILD_FILES) | toolchain
	cargo build --locked --release --package noop-policy --target $(TARGET)
	cp $(TARGET_DIR)/$(TARGET)/release/noop_policy.wasm $@

# Without a sanitizer, the pinned toolchain is enough. The targets look for panics, hangs and wrong answers in safe code, and a sanitizer
# finds none of these.
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
.PHONY: fuzz
fuzz: | toolchain ## Fuzz each target for TIME seconds (needs cargo-fuzz): make fuzz TIME=3600 FUZZ_TARGETS=record
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target \
			-- -max_total_time=$(or $(TIME),60) -timeout=10 -rss_limit_mb=2048 || exit; \
	done

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -f policy.wasm annotated-policy.wasm noop.wasm
