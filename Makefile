# One command each; all of them set up what they need, in .venv, and are quick the second time.
#
#   make demo          simulated machines, an MQTT broker and the live view   (DEMO_ARGS="--speed 10")
#   make test          the test suite; with REQUIRE_BROKERS=1 a missing broker fails instead of skipping
#   make test-processors   the tests of law 2 as if on lesser processors: without AVX-512, and without all that NumPy adds
#   make lint types    ruff, the import layers; mypy
#   make ci            what the integration server runs
#   make bench NAME=engine          one benchmark, JSON lines
#   make chaos         break everything on purpose, count what is lost   (CHAOS_ARGS="--seconds 60 --kafka HOST:PORT")
#   make bench-peers   the programs we compare ourselves with, in .venv-peers
#   make test-flink    the SQL of `agent rules to-flink`, run by real Flink on the conformance inputs (needs Java 11 or 17)
#   make docs          write docs/configuration.md and docs/counters.md from the code
#   make lock          refresh requirements/*.txt from pyproject.toml

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell \
  $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-input

.PHONY: demo test test-processors test-flink lint format types ci docs bench chaos bench-peers lock clean system-packages

demo: $(VENV)/.have-demo
	$(BIN)/python -m agent --simulate $(DEMO_ARGS)

test: system-packages $(VENV)/.have-dev
	$(BIN)/python -m pytest $(TEST_ARGS)

test-processors: $(VENV)/.have-dev
	$(BIN)/python -m tests.processors $(TEST_ARGS)

lint: $(VENV)/.have-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=. $(BIN)/lint-imports

format: $(VENV)/.have-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.have-dev
	$(BIN)/mypy

ci:
	.ci/run

docs: $(VENV)/.have-dev
	$(BIN)/python docs/build_reference.py

chaos: system-packages $(VENV)/.have-dev
	$(BIN)/python -m benchmarks chaos $(CHAOS_ARGS)

bench: $(VENV)/.have-dev
	$(BIN)/python -m benchmarks $(NAME) $(BENCH_ARGS)

# --- set-up -----------------------------------------------------------------------------------------------------

# A .venv that is a symbolic link belongs to somebody else: it is used as it stands, never changed.
$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@.ci/system-packages venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.have-demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	@[ -L $(VENV) ] || { echo "installing requirements/demo.txt"; $(PIP) --require-hashes -r requirements/demo.txt \
	  && $(PIP) --no-deps --no-build-isolation --editable . && touch $@; }

$(VENV)/.have-dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@[ -L $(VENV) ] || { echo "installing requirements/dev.txt"; $(PIP) --require-hashes -r requirements/dev.txt \
	  && $(PIP) --no-deps --no-build-isolation --editable . && touch $@ $(VENV)/.have-demo; }

system-packages:
	@.ci/system-packages brokers

bench-peers: .venv-peers/.have

.venv-peers/.have: requirements/peers.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@.ci/system-packages venv $(PYTHON)
	[ -x .venv-peers/bin/python ] || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/peers.txt
	touch $@

test-flink: .venv-flink/.have $(VENV)/.have-dev
	@command -v java >/dev/null || { echo "Java 11 or 17 is needed: apt-get install openjdk-17-jre-headless"; exit 1; }
	$(BIN)/python -m tests.flink.compare .venv-flink/bin/python $(TEST_ARGS)

.venv-flink/.have: requirements/flink.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 is needed: apt-get install python3 python3-venv"; exit 1; }
	[ -x .venv-flink/bin/python ] || $(PYTHON) -m venv .venv-flink
	.venv-flink/bin/python -m pip --disable-pip-version-check install --quiet -r requirements/flink.txt
	touch $@

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate
lock:
	$(LOCK) pyproject.toml requirements/build.in -o requirements/run.txt
	$(LOCK) pyproject.toml requirements/build.in --extra demo --extra plot -c requirements/run.txt \
	  -o requirements/demo.txt
	$(LOCK) pyproject.toml requirements/build.in --extra demo --extra plot --group dev -c requirements/demo.txt \
	  -o requirements/dev.txt
	$(LOCK) requirements/peers.in -o requirements/peers.txt

clean:
	@[ -L $(VENV) ] || rm -rf $(VENV)
	rm -rf .venv-peers .venv-flink build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
