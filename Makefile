# Each target does its own set-up from a bare clone: Python 3.11 or newer, pip and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests start hundreds of hosts: one that may not keep compiled modules compiles all of them anew, for 0.3 s of a core.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-js demo-async demo-photos test test-all check bench faults oracle soak wasi-testsuite

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(STAMP)  ## make .venv with everything installed

$(STAMP): requirements-dev.txt core/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The demonstration needs the host and a compiler for its guest, none of the development tools.
DEMO := $(VENV)/.demo
$(DEMO): examples/kv-cached/requirements.txt core/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the host into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-e ./core -e ./plugins/memory -e ./plugins/sqlite -e ./plugins/wasi -r examples/kv-cached/requirements.txt
	@touch $@

demo: $(DEMO)  ## build the example guest in Python, run it, make requests, stop
	@$(BIN)/python examples/kv-cached/demo.py

demo-js: $(DEMO)  ## the same with the guest in JavaScript; needs Node.js and npm
	@$(BIN)/python examples/kv-cached/demo.py javascript

demo-async: $(DEMO)  ## the same with an asynchronous guest in Python, by WASI 0.3
	@$(BIN)/python examples/kv-cached/demo.py async

MEGABYTES ?= 200
GUEST ?= python
demo-photos: $(DEMO)  ## upload a photo of MEGABYTES=200 through a guest into a directory, and get it and parts; GUEST=c
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./plugins/filesystem
	@$(BIN)/python examples/photos/demo.py $(MEGABYTES) $(GUEST)

# Work is stolen, so tests that share an expensive fixture mostly stay together. Many tests wait for servers, so
# there are four workers on two cores too; more gain little: the longest tests decide then.
JOBS ?= 4
test: $(STAMP)  ## run all tests, in four processes; JOBS=0 for one
	@$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist worksteal

# Faults, deadlines and descriptors are measured while three other tests run. What fails then is run once more, alone,
# and must pass: what is wrong with the product fails twice. Both results stand on the screen.
define tests
	@$(1) $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist worksteal $(2) || \
	{ echo "what failed, once more and alone:"; \
	$(1) $(BIN)/python -m pytest -n 0 --last-failed --last-failed-no-failures none --maxfail 1 $(2); }
endef

test-all: $(STAMP)  ## the same on every event loop, guests without optimization, and 2,000 random WIT worlds
	$(call tests,WASMPLEX_TEST_LOOPS=all)
	$(call tests,WASMPLEX_TEST_OPTIMIZE=0,core/tests/testing \
		$(wildcard tests/test_*guest*.py) tests/test_labels.py tests/test_js_streams.py tests/test_three_backends.py)
	$(call tests,WASMPLEX_WORLDS=2000,--timeout 300 core/tests/bridge/test_worlds.py)

check: $(STAMP)  ## lint, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

faults: $(STAMP)  ## kill, pause and fill real servers for minutes; prints what was lost (nothing) and for how long
	@WASMPLEX_FAULTS=full $(BIN)/python -m pytest tests/test_server_faults.py tests/test_messaging_faults.py tests/test_messaging_hosts.py tests/test_blob_kills.py \
		plugins/postgres/tests/test_faults.py "core/tests/triggers/test_messaging.py::test_the_deliveries_of_a_message_are_ever_further_apart"

MINUTES ?= 10
WORKERS ?= 1
soak: $(STAMP)  ## a host under traffic, reloaded every minute, for MINUTES=10; fails if it loses a request or grows
	@PYTHONPATH=tests $(BIN)/python -m soak --minutes $(MINUTES) --workers $(WORKERS)

bench: $(STAMP)  ## measure, as ratios to a baseline of the same run; results in .build/bench
	@mkdir -p .build/bench; missed=""; \
	for file in benchmarks/*.py; do \
		name=$$(basename $$file .py); \
		$(BIN)/python $$file --json .build/bench/$$name.json || missed="$$missed $$name"; \
	done; \
	if [ -n "$$missed" ]; then echo "below what is required:$$missed" >&2; exit 1; fi

oracle: $(STAMP)  ## compare guests with what wash, the reference host, and wasmtime make of them (optional)
	@$(BIN)/python tests/oracle/compare.py
	@$(BIN)/python tests/oracle/wasi3.py

WASI ?= wasm32-wasip3
wasi-testsuite: $(STAMP)  ## run the programs of WebAssembly/wasi-testsuite, branch prod/testsuite-base, in DIR
	@$(BIN)/python tests/wasi_testsuite/suite.py $(DIR) $(WASI)
