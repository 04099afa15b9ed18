# One word per thing to do; `make` alone lists them. Everything lands in .venv, nothing in the system's Python,
# except that `make test` installs what the tests run (Debian packages: PACKAGES below). What takes hours is in .ci.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := redis-server ejabberd erlang-p1-oauth2 prosody tinyproxy-bin \
	ruby-sqlite3 ruby-sidekiq ruby-activejob ruby-rack ruby-webrick ruby-redis-namespace php-cli php-nrk-predis \
	rabbitmq-server chromium chromium-driver fonts-dejavu-core mandoc systemd nginx-light libnginx-mod-http-echo
# What only `make nightly` and `.ci/soak` run.
NIGHTLY_PACKAGES := prosody-modules faketime tmux zsh fish strace nodejs golang-go \
	golang-github-gomodule-redigo-dev phpunit prometheus debootstrap systemd-container
# What only `make bench` runs, Node.js with npm beside it; with --against, nothing but these.
AGAINST_PACKAGES := redis-server nginx-light libnginx-mod-http-echo
BENCH_PACKAGES := ruby-net-http-persistent nodejs golang-go golang-github-gomodule-redigo-dev
SHELL := /bin/bash
# Where Python is told to keep no compiled code, as in some containers, each of a thousand processes would compile it all.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help venv demo quick test nightly lint format docs locks wheel deb release image clean servers nightly-servers \
	advisories tested reference bench bench-peers bench-against

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A dot every three seconds beside what says nothing by itself.
DOTS = while sleep 3 >/dev/null && kill -0 $$$$ 2>/dev/null; do printf .; done & trap "kill $$!; echo" EXIT;

# A lock names every file's hash; --no-deps and --no-build-isolation keep pip from fetching anything beside it.
define install
	@printf "Installing $(1) into $(VENV) (a minute or two) "; $(DOTS) \
		$(PIP) install --quiet --require-hashes -r $(1) \
		&& $(PIP) install --quiet --no-deps --no-build-isolation --editable .
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "restbroker needs Python 3.11 or newer; say which one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Making $(VENV) (some seconds)"
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.demo: $(BIN)/python requirements/demo.lock pyproject.toml
	$(call install,requirements/demo.lock)
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements/dev.lock pyproject.toml
	$(call install,requirements/dev.lock)
	@touch $@ $(VENV)/.demo

wheel: ## Build dist/restbroker-….whl, with the build's tools in an environment of its own
	@echo "Building the wheel, with the locked tools in $(VENV)/build (up to half a minute)"
	@$(PYTHON) -m venv --clear $(VENV)/build
	@$(VENV)/build/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes \
		-r requirements/build.lock -r requirements/run.lock
	@rm -rf dist
	@$(VENV)/build/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

deb: wheel ## Build dist/restbroker_VERSION_amd64.deb for Debian 12 and 13 (needs dpkg-deb, no root)
	@echo "Building the Debian package (half a minute)"
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} \
		$(VENV)/build/bin/python -m dev.tools.debian_package dist/*.whl dist
	@ls dist/*.deb

release: ## Make dist of the tag at HEAD and prove it: sdist, wheel, Debian package, image's tree (as root), SBOM, checksums
	@PYTHON=$(PYTHON) .ci/release

venv: $(VENV)/.dev ## Make .venv with everything for work on restbroker

demo: $(VENV)/.demo ## Show in six scenes what restbroker does; STAY=1 keeps it running, with its pages
	@$(BIN)/restbroker demo $(if $(STAY),--stay) $(ARGS)

servers:
	@PYTHON=$(PYTHON) .ci/servers $(PACKAGES)

nightly-servers: servers
	@PYTHON=$(PYTHON) .ci/servers $(NIGHTLY_PACKAGES)
	@command -v npm >/dev/null || PYTHON=$(PYTHON) .ci/servers npm
	@$(MAKE) --no-print-directory tests/clients/node_modules/.done

# Not `npm ci`: see below.
tests/clients/node_modules/.done: tests/clients/package-lock.json
	@command -v npm >/dev/null || { echo "The test of the client in Node.js needs npm." >&2; exit 2; }
	@npm install --ignore-scripts --no-save --no-audit --no-fund --loglevel=error --prefix tests/clients
	@touch $@

# The wheel, unpacked: what the tests run instead of the tree's own folder.
TESTED := $(abspath build/tested)
tested: $(VENV)/.dev
	@echo "Building the wheel (up to half a minute)"
	@rm -rf $(TESTED)
	@$(PIP) wheel --quiet --no-deps --no-build-isolation -w $(TESTED)/dist .
	@$(PIP) install --quiet --no-index --no-deps --target $(TESTED)/lib $(TESTED)/dist/*.whl

# What needs no root, no wheel, and no server but a Redis: an installed one, or the one that `make demo` brings.
QUICK := tests/unit tests/broker tests/model/test_store_against_model.py tests/model/test_rosters_against_model.py tests/golden/test_golden.py
# -u: in a pipe or a file, too, each line comes when it is written.
PYTEST := $(BIN)/python -u -m pytest -p tests.support.progress -p tests.support.slow
# Most tests wait for servers most of the time: one worker more than there are cores keeps those busy.
PARALLEL := --numprocesses $$(($$(nproc) + 1)) --dist worksteal
# What a change can break, without what only the night runs.
BY_DAY := --ignore-glob='*/nightly' -m 'not nightly'
# The wheel comes first in every path, and the working directory in none (tests/install/test_tested.py looks).
ON_WHEEL := PYTHONSAFEPATH=1 PYTHONPATH=$(TESTED)/lib:$(CURDIR) TESTED_FROM=$(TESTED)/lib $(PYTEST) -o pythonpath= $(PARALLEL)

quick: $(VENV)/.dev ## Run what needs no server but a Redis (ARGS=tests/unit/job runs a part)
	@echo "make quick: $(or $(ARGS),$(QUICK))"
	@MODEL_HISTORIES=$${MODEL_HISTORIES:-10} FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-20} $(PYTEST) $(BY_DAY) \
		$(if $(filter tests/%,$(ARGS)),-p no:randomly,$(PARALLEL) $(QUICK)) $(ARGS)

test: ## Run on the built wheel all that a change can break: eight minutes (ARGS="-k word" picks some)
	@echo "make test: servers by apt-get (1 GB, as root or with sudo) and tools into $(VENV), where missing; the wheel;"
	@echo "then all that a change can break, about eight minutes on two cores. make quick needs none of these."
	@$(MAKE) --no-print-directory servers tested
	@$(ON_WHEEL) $(BY_DAY) --durations 10 $(ARGS)

nightly: nightly-servers $(VENV)/.dev tested ## Run what `make test` leaves out, the lowest and highest versions of libraries, the image: an hour
	@$(ON_WHEEL) -m nightly --durations 10 $(ARGS)
	$(if $(ARGS),,@$(BIN)/python -m tests.golden)
	$(if $(ARGS),,@PYTHON=$(PYTHON) .ci/versions)
	$(if $(ARGS),,@$(MAKE) --no-print-directory image)
	$(if $(ARGS),,@# Without a way to the database it says NOT CHECKED.)
	$(if $(ARGS),,@$(MAKE) --no-print-directory $(SBOM) && { $(ADVISORIES) $(SBOM) || [[ $$? = 2 ]]; })

# The SBOM of all that can be installed, RabbitMQ's library with it.
SBOM := build/locked.cdx.json
$(SBOM): requirements/amqp.lock $(VENV)/release/.done
	@mkdir -p build
	@$(VENV)/release/bin/cyclonedx-py requirements requirements/amqp.lock --output-reproducible --output-file $(SBOM)

$(VENV)/release/.done: requirements/release.lock
	@echo "Installing what asks the advisory database (half a minute)"
	@$(PYTHON) -m venv $(VENV)/release
	@$(VENV)/release/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/release.lock
	@touch $@

ADVISORIES := $(VENV)/release/bin/python -m dev.tools.advisories
# Lists known holes of the locked libraries, or of those of a release: ARGS=restbroker-….cdx.json. It asks OSV.
advisories: $(SBOM)
	@$(ADVISORIES) $(or $(ARGS),$(SBOM))

# Makes the image's tree by contrib/image without Docker, and tries it (as root).
image: $(VENV)/.dev
	@.ci/servers debootstrap
	@PIP="$(PIP)" contrib/image/try.sh build/image

# A distribution's own Python is optimised with a profile, others often are not: it is up to a quarter faster.
BENCH_PYTHON ?= $(firstword $(wildcard /usr/bin/python3) $(PYTHON))
BENCH := $(VENV)/optimised

# Not `npm ci`: it refuses a lock that leaves out the optional packages of other platforms.
$(BENCH)/bench/.done: requirements/bench.lock dev/benchmarks/workers/package-lock.json
	@command -v npm >/dev/null || { echo "make bench needs Node.js 20 or newer with npm (for BullMQ)" >&2; exit 2; }
	$(BENCH_PYTHON) -m venv $(BENCH)/bench
	$(BENCH)/bench/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/bench.lock
	npm install --ignore-scripts --no-save --no-audit --no-fund --loglevel=error --prefix dev/benchmarks/workers
	@touch $@

bench: $(if $(findstring --against,$(ARGS)),bench-against,bench-peers) ## Measure restbroker beside its peers (ARGS="--only restbroker", …), or ARGS="--against COMMIT"

bench-against:
	@PYTHON=$(PYTHON) .ci/servers $(AGAINST_PACKAGES)
	@$(MAKE) --no-print-directory venv PYTHON=$(BENCH_PYTHON) VENV=$(BENCH)
	@$(BENCH)/bin/python -m dev.benchmarks.against $(ARGS)

bench-peers: servers
	@PYTHON=$(PYTHON) .ci/servers $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory venv PYTHON=$(BENCH_PYTHON) VENV=$(BENCH)
	@$(MAKE) --no-print-directory $(BENCH)/bench/.done
	@$(BENCH)/bin/python -m dev.benchmarks $(ARGS)
	@$(BENCH)/bin/python -m dev.benchmarks.page

# What the linter of prose says are hints: nothing fails by it.
PROSE = README.md CONTRIBUTING.md SECURITY.md docs/*.md docs/servers/*.md

lint: $(VENV)/.dev ## Check style, types, who imports whom, and what is written twice
	@echo "make lint: ruff, mypy (a minute or so, the first time two), who imports whom, what servers write twice, prose"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@printf "$(BIN)/mypy "; $(DOTS) $(BIN)/mypy
	$(BIN)/mypy examples/server-kind
	$(BIN)/lint-imports --no-logo
	$(BIN)/pylint restbroker/servers
	@! grep -rnE 'suppress\((Base)?Exception\)' restbroker --include=*.py || { echo "No exception ends in silence."; exit 1; }
	@$(BIN)/proselint check --config dev/tools/proselint.json $(PROSE) || echo "Hints on prose: nothing fails by them."

docs: reference ## Write what pages have from the code, then the site in build/site (ARGS=serve shows it on port 8000)
	@echo "Making the site of README and docs"
	@PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(ARGS),$(ARGS),build --strict)
	@$(if $(ARGS),,echo build/site/index.html)

reference: $(VENV)/.dev
	@$(BIN)/python -c 'from restbroker.events import registry as sources; from restbroker.servers import registry; \
		from dev.tools import config_page, openfire_commands, telemetry_page; \
		config_page.write(registry.kinds(), sources.kinds()); telemetry_page.write(); openfire_commands.write()'
	@PYTHONPATH=. $(BIN)/python -m dev.tools.codes_page
	@PYTHONPATH=. $(BIN)/python -m dev.tools.drawings
	@PYTHONPATH=. $(BIN)/python -m dev.tools.proofs

format: $(VENV)/.dev ## Format the code and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

RESOLVE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
COMPILE := $(RESOLVE) pyproject.toml requirements/build.in

locks: ## Pin the newest versions again (needs uv); UPGRADE=1 raises all of them
	$(RESOLVE) pyproject.toml $(if $(UPGRADE),--upgrade) -o requirements/run.lock
	$(RESOLVE) requirements/build.in $(if $(UPGRADE),--upgrade) -o requirements/build.lock
	$(RESOLVE) pyproject.toml --extra amqp $(if $(UPGRADE),--upgrade) -c requirements/run.lock -o requirements/amqp.lock
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra demo -c requirements/run.lock -c requirements/build.lock \
		-o requirements/demo.lock
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra demo --extra amqp requirements/dev.in -c requirements/demo.lock \
		-o requirements/dev.lock
	$(RESOLVE) requirements/release.in $(if $(UPGRADE),--upgrade) -c requirements/run.lock -c requirements/build.lock \
		-o requirements/release.lock
	$(RESOLVE) requirements/bench.in $(if $(UPGRADE),--upgrade) -o requirements/bench.lock

clean: ## Remove what was made
	rm -rf dev/benchmarks/workers/node_modules tests/clients/node_modules
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find restbroker tests dev -name __pycache__ -type d -prune -exec rm -rf {} +
