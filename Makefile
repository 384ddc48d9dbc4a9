# What README, CONTRIBUTING and .ci/run call. Everything is set up in the checkout: .venv, target, .kafka.
PYTHON ?= python3
BIND ?= 0.0.0.0:8080
# Which versions of the dependencies: those that pip picks; `lowest` has the lowest that pyproject.toml allows, and `newest` what
# the package needs in its newest versions, with pre-releases and whatever Granian there is. Each has an environment of its own.
DEPENDENCIES ?=
$(if $(filter-out lowest newest,$(DEPENDENCIES)),$(error DEPENDENCIES is lowest, newest or not set, not '$(DEPENDENCIES)'))
VENV := .venv$(DEPENDENCIES:%=-%)
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
ifeq ($(DEPENDENCIES),lowest)
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --resolution lowest-direct --requirements pyproject.toml
else
INSTALL := $(PIP)
endif
SECONDS ?= 60
SOURCES := pyproject.toml Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
PY := python tests benches examples docs/hooks.py
DIST ?= dist
QUICK := $(addprefix tests/test_,event.py nesting.py pairs.py address.py clients.py url_command.py)

.PHONY: run test quick test-rust test-python lint types fmt instructions fuzz fuzz-merge deny sanitize bench soak bench-report chaos chaos-short docs wheel sdist smoke clean

run: $(VENV)/run.stamp  ## build, and serve on :8080 without Kafka
	$(BIN)/pixelcore serve --bind $(BIND)

test: test-rust test-python  ## everything, with a real Kafka and a real Chromium

quick: $(VENV)/dev.stamp  ## the tables and property tests, in Rust and from Python, without servers
	cargo test --quiet --package pixelcore
	$(BIN)/pytest --quiet $(QUICK)

test-rust: $(VENV)/system-test.stamp
	cargo test --quiet --workspace

test-python: $(VENV)/dev.stamp .kafka/lib
	$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(PY)
	$(BIN)/ruff format --check $(PY)
	$(BIN)/lint-imports --no-logo --cache-dir $(VENV)/import-linter
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --package pixelcore --no-deps

types: $(VENV)/dev.stamp
	$(BIN)/mypy
	$(BIN)/mypy docs/hooks.py
	$(BIN)/python -m mypy.stubtest pixelcore._core

fmt: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(PY)
	$(BIN)/ruff format $(PY)
	cargo fmt --all

instructions: $(VENV)/dev.stamp  ## instructions of one event, held to the recorded ones
	$(BIN)/python -m benches.instructions

fuzz:  ## coverage-guided, each target for SECONDS
	rust/fuzz/run.sh $(SECONDS)

fuzz-merge:  ## what fuzzing found and adds coverage, into rust/fuzz/corpus
	rust/fuzz/run.sh --merge

deny: $(VENV)/dev.stamp target/tools/bin/cargo-deny  ## licences and sources of what is depended on
	target/tools/bin/cargo-deny check bans licenses sources
	$(BIN)/pip check

target/tools/bin/cargo-deny:
	cargo install --quiet --locked --debug --config profile.dev.debug=0 --root target/tools cargo-deny --version '^0.20'

sanitize: $(VENV)/dev.stamp  ## the mapping of counters and the journal, with AddressSanitizer
	rust/sanitize.sh --planted
	rust/sanitize.sh

bench: $(VENV)/bench.stamp .kafka/lib  ## all measurements, held to their goals, into benches/results
	$(BIN)/python -m benches

soak: $(VENV)/dev.stamp .kafka/lib  ## half an hour at 70 % load: memory, descriptors and segments stay flat
	$(BIN)/python -m benches.soak

bench-report: $(VENV)/dev.stamp  ## benches/REPORT.md and its plots, from benches/results
	$(BIN)/python -m benches.page

docs: $(VENV)/docs.stamp  ## the site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/build.stamp  ## the wheel of this machine, in dist/
	rm -f $(DIST)/pixelcore-*.whl
	$(BIN)/maturin build --quiet --release --locked --out $(DIST)

sdist: $(VENV)/build.stamp  ## the source distribution, in dist/
	rm -f $(DIST)/pixelcore-*.tar.gz
	$(BIN)/maturin sdist --out $(DIST)

smoke:  ## the wheel of dist/ that fits this machine, in an empty environment
	$(PYTHON) tests/smoke.py $(DIST) $(SMOKE)

SEEDS ?= 1 2 3
chaos: $(VENV)/dev.stamp .kafka/lib  ## every fault under load, once for each of SEEDS; see docs/chaos.md
	for seed in $(SEEDS); do $(BIN)/python -m tests.chaos --seed $$seed || exit 1; done

SEED ?= 1
chaos-short: $(VENV)/dev.stamp .kafka/lib  ## two minutes of it
	$(BIN)/python -m tests.chaos --short --seed $(SEED)

clean:
	rm -rf .venv .venv-lowest .venv-newest target .kafka .benchmarks dist site

$(VENV)/system-run.stamp:
	sh tests/system_packages.sh run
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
ifeq ($(DEPENDENCIES),lowest)
	$(PIP) --group lowest
endif
	touch $@

$(VENV)/system-test.stamp: $(VENV)/system-run.stamp tests/system_packages.sh
	sh tests/system_packages.sh test
	touch $@

$(VENV)/run.stamp: $(VENV)/system-run.stamp $(SOURCES)
ifeq ($(DEPENDENCIES),newest)
	$(INSTALL) --upgrade --pre --editable .
	$(INSTALL) --upgrade --pre --no-deps granian
else
	$(INSTALL) --editable .
endif
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp $(VENV)/system-test.stamp
	$(INSTALL) --group dev
	touch $@

$(VENV)/docs.stamp: $(VENV)/system-run.stamp pyproject.toml
	$(INSTALL) --group docs
	touch $@

$(VENV)/build.stamp: $(VENV)/system-run.stamp pyproject.toml
	$(INSTALL) --group build
	touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(INSTALL) --group peers
	touch $@

# Where Java or Maven is missing, the tests say so: they fail in CI, and elsewhere skip what needs Kafka.
.kafka/lib: tests/kafka/pom.xml $(VENV)/system-test.stamp
	@if command -v mvn >/dev/null; then \
	  mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@ -DincludeScope=runtime && touch $@; \
	fi
