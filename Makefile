# The targets that README, CONTRIBUTING and .ci/run use. Everything is set up within the checkout: .venv, target, .kafka.
PYTHON ?= python3
BIND ?=
# The versions of the dependencies: by default those that pip picks. `lowest` has the lowest that pyproject.toml allows. `newest` has
# the newest ones, with pre-releases and any version of Granian. Each has its own environment.
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
# Installations that take minutes show their progress.
LOUDLY := $(subst --quiet ,,$(INSTALL))
SECONDS ?= 60
SOURCES := pyproject.toml Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
PY := python tests benches examples mutants docs/hooks.py docs/drawings.py
DIST ?= dist

.PHONY: run test quick test-rust test-python lint types fmt instructions clients attack fuzz fuzz-merge deny sanitize bench soak bench-report fleet brokers chaos chaos-short consent-proof mutants deploy-test deploy-systemd deploy-image docs pictures wheel sdist smoke clean

run: $(VENV)/run.stamp  ## build, and serve on :8080 without Kafka
	$(BIN)/pixelcore serve $(BIND:%=--bind %)

test: test-rust test-python  ## all tests, with a real Kafka and a real Chromium

quick: $(VENV)/dev.stamp  ## the tables and property tests, in Rust and from Python, without servers
	cargo test --quiet --package pixelcore
	$(BIN)/pytest --quiet tests/quick

test-rust: $(VENV)/system-test.stamp
	cargo test --quiet --workspace

test-python: $(VENV)/dev.stamp .kafka/lib tests/npm/node_modules target/tools/bin/vale
	$(BIN)/pytest --numprocesses 4 --dist loadgroup --no-loadscope-reorder || { \
	  [ $$? = 1 ] || exit 1; \
	  echo 'once more, each alone: the tests that failed'; \
	  $(BIN)/pytest --last-failed --last-failed-no-failures none --maxfail 3; }

lint: $(VENV)/dev.stamp prose target/tools/bin/actionlint
	$(BIN)/ruff check $(PY)
	$(BIN)/ruff format --check $(PY)
	$(BIN)/shellcheck $$(git ls-files '*.sh') .ci/run .ci/notes
	target/tools/bin/actionlint -shellcheck $(BIN)/shellcheck
	$(BIN)/lint-imports --no-logo --cache-dir $(VENV)/import-linter
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --package pixelcore --no-deps

# All pages but one that is not ours, and one that a program writes.
.PHONY: prose
prose: target/tools/bin/vale  ## the English of all pages, by the rules in prose/
	@git ls-files -z --cached --others --exclude-standard -- '*.md' ':!CODE_OF_CONDUCT.md' ':!benches/REPORT.md' \
	  | xargs -0 target/tools/bin/vale --no-global --sort

target/tools/bin/vale: prose/build.sh | $(VENV)/system-run.stamp
	sh prose/build.sh $(BIN)/pip

target/tools/bin/actionlint: | $(VENV)/system-run.stamp
	GOBIN=$(@D:%=$(CURDIR)/%) GOTOOLCHAIN=local CGO_ENABLED=0 \
	  $$(sh tests/go.sh $(BIN)/pip 1.25.0) install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

types: $(VENV)/dev.stamp
	$(BIN)/mypy
	$(BIN)/mypy docs/hooks.py docs/drawings.py
	$(BIN)/python -m mypy.stubtest pixelcore._core

fmt: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(PY)
	$(BIN)/ruff format $(PY)
	cargo fmt --all

instructions: $(VENV)/dev.stamp  ## CPU instructions of one event, compared with the recorded ones
	$(BIN)/python -m benches.instructions

clients: $(VENV)/dev.stamp  ## how the agents of seven public test suites are classified; the suites are cloned into target/corpora
	$(BIN)/python -m benches.clients

fuzz:  ## coverage-guided fuzzing, each target for SECONDS
	rust/fuzz/run.sh $(SECONDS)

fuzz-merge:  ## add the fuzzers' findings that increase coverage to rust/fuzz/corpus
	rust/fuzz/run.sh --merge

deny: $(VENV)/dev.stamp target/tools/bin/cargo-deny  ## check licences and sources of the dependencies
	target/tools/bin/cargo-deny check bans licenses sources
	$(BIN)/pip check

target/tools/bin/cargo-deny:
	cargo install --quiet --locked --debug --config profile.dev.debug=0 --root target/tools cargo-deny --version '^0.20'

sanitize: $(VENV)/dev.stamp  ## tests of mapped counters and of the journal, with AddressSanitizer
	rust/sanitize.sh --planted
	rust/sanitize.sh

bench: $(VENV)/bench.stamp .kafka/lib  ## all measurements, compared with their goals, into benches/results
	$(BIN)/python -m benches

soak: $(VENV)/dev.stamp .kafka/lib  ## half an hour at 70 % load: memory, descriptors and segments stay flat
	$(BIN)/python -m benches.soak

bench-report: $(VENV)/dev.stamp  ## benches/REPORT.md and its plots, from benches/results
	$(BIN)/python -m benches.page

fleet: $(VENV)/dev.stamp  ## what many gateways cost a cluster, by benches/results, into the table of docs/fleet.md
	$(BIN)/python -m benches.fleet --write

consent-proof: $(VENV)/dev.stamp .kafka/lib  ## people withdraw from a fleet under load; writes a page for an auditor
	$(BIN)/python -m tests.consents --page target/consent-proof.md

deploy-test: $(VENV)/dev.stamp .kafka/lib .deploy/rootfs.tar .deploy/wheels .deploy/kubernetes/kubectl  ## the deployments of deploy/ with the real programs, and a table
	-command -v buildah >/dev/null && $(MAKE) deploy-image
	unshare --net sh -c 'ip link set lo up && exec $(BIN)/pytest tests/deployed'

deploy-image:  ## build deploy/Dockerfile with buildah; missing base images are pulled, or made of Debian's packages
	sh tests/deployed/images.sh
	buildah bud --format docker --isolation chroot --layers --file deploy/Dockerfile --tag localhost/pixelcore:test .

deploy-systemd: $(VENV)/dev.stamp .kafka/lib .deploy/rootfs.tar .deploy/wheels  ## test the unit under a real systemd
	unshare --net sh -c 'ip link set lo up && exec $(BIN)/pytest tests/deployed/test_systemd.py'

docs: $(VENV)/docs.stamp  ## build the site in site/; a warning is an error
	@echo 'building the site: half a minute'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'the site is in $(CURDIR)/site/index.html; $(BIN)/mkdocs serve shows it while you write'

pictures: $(VENV)/dev.stamp  ## the pictures of README and the site: drawn by docs/drawings.py, or taken in Chromium
	$(BIN)/python -m docs.drawings
	UPDATE_PICTURES=1 $(BIN)/pytest --quiet tests/docs/test_pictures.py

wheel: $(VENV)/build.stamp  ## build the wheel for this machine in dist/
	rm -f $(DIST)/pixelcore_gateway-*.whl
	$(BIN)/maturin build --quiet --release --locked --out $(DIST)

sdist: $(VENV)/build.stamp  ## build the source distribution in dist/
	rm -f $(DIST)/pixelcore_gateway-*.tar.gz
	$(BIN)/maturin sdist --out $(DIST)

smoke:  ## try this machine's wheel from dist/ in an empty environment
	$(PYTHON) tests/support/smoke.py $(DIST) $(SMOKE)

attack: $(VENV)/dev.stamp  ## attacks of hostile senders and mistakes of operators, against real servers, in one table
	$(BIN)/python -m tests.attack

SEEDS ?= 1 2 3
chaos: $(VENV)/dev.stamp .kafka/lib  ## every fault under load, once for each of SEEDS; see docs/chaos.md
	for seed in $(SEEDS); do $(BIN)/python -m tests.chaos --seed $$seed || exit 1; done

SEED ?= 1
chaos-short: $(VENV)/dev.stamp .kafka/lib  ## two minutes of chaos
	$(BIN)/python -m tests.chaos --short --seed $(SEED)

brokers: $(VENV)/dev.stamp .kafka/lib  ## brokers of four versions, and what operators do to them, under load (ten minutes)
	$(BIN)/python -m tests.brokers

# OF is rust, python or both. SINCE=main restricts it to the files that differ from a commit.
OF ?= rust python
mutants: $(VENV)/dev.stamp .kafka/lib target/tools/bin/cargo-mutants  ## wrong changes, chosen by SEED, each of which some test must notice
	status=0; for language in $(OF); do \
	  $(BIN)/python -m mutants $$language --seed $(SEED) $(SINCE:%=--changed-since %) $(COUNT:%=--count %) || status=1; \
	done; exit $$status

target/tools/bin/cargo-mutants:
	cargo install --quiet --locked --debug --config profile.dev.debug=0 --root target/tools cargo-mutants --version '=27.1.0'

clean:
	rm -rf .venv .venv-lowest .venv-newest target .kafka .deploy .benchmarks dist site tests/npm/node_modules

$(VENV)/system-run.stamp:
	@echo 'setting up $(VENV)'
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
	@echo 'compiling the Rust core, and installing it with its dependencies: some minutes the first time'
ifeq ($(DEPENDENCIES),newest)
	$(INSTALL) --upgrade --pre --editable .
	$(INSTALL) --upgrade --pre --no-deps granian
else
	$(LOUDLY) --editable .
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

deploy/requirements.txt: pyproject.toml  ## pin the versions in the image
	$(PIP) --group lowest
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --generate-hashes --no-header \
	  --python-version 3.13 --python-platform linux --output-file $@

# A Debian that boots, and the wheel with its dependencies for it.
.deploy/rootfs.tar: tests/system_packages.sh
	sh tests/system_packages.sh deploy
	mkdir -p .deploy
	mmdebstrap --quiet --variant=minbase bookworm $@ \
	  --include=systemd,systemd-sysv,dbus,python3,python3-venv,procps,util-linux,iproute2

.deploy/wheels: $(SOURCES) $(shell find python -name '*.py')
	rm -rf $@
	$(MAKE) wheel DIST=$(CURDIR)/$@
	$(BIN)/pip download --quiet --disable-pip-version-check --python-version 3.11 --only-binary :all: --dest $@ $@/*.whl

.deploy/kubernetes/kubectl: tests/deployed/kubernetes.sh | $(VENV)/system-run.stamp
	sh tests/system_packages.sh deploy
	@echo 'building Kubernetes: some ten minutes the first time'
	sh tests/deployed/kubernetes.sh $(BIN)/pip

# Without Java or Maven, the tests that need Kafka fail in CI, and are skipped elsewhere with a message.
.kafka/lib: tests/kafka/pom.xml $(VENV)/system-test.stamp
	@if command -v mvn >/dev/null; then \
	  mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@ -DincludeScope=runtime && touch $@; \
	fi

# Likewise without npm.
tests/npm/node_modules: tests/npm/package-lock.json $(VENV)/system-test.stamp
	@if command -v npm >/dev/null; then npm ci --prefix tests/npm --no-audit --no-fund --silent && touch $@; fi
