# Everything runs in .venv, made from hash-pinned requirements; only Python >= 3.11, pip and make are needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO_FOR ?=
EXPLORE ?= 20
BUILD_PINS := config/container/requirements-build.txt

.PHONY: help env demo test explore lint types check bench bench-quick dist lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

env: $(VENV)/.ready  ## create the environment

$(VENV)/.ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Turnout needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: env  ## old and new backend, Turnout in front, a small migration, live (DEMO_FOR=15s ends by itself)
	@$(BIN)/turnout demo $(if $(DEMO_FOR),--for $(DEMO_FOR))

test: env  ## every test
	$(BIN)/python -m pytest -n 2

explore: env  ## the properties alone, with EXPLORE (20) times the examples, new ones in each run
	EXPLORE=$(EXPLORE) $(BIN)/python -m pytest -n 2 -m hypothesis --timeout 3600

lint: env  ## ruff
	$(BIN)/ruff check .

types: env  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## what CI runs

bench: env  ## Turnout, nginx, HAProxy, Envoy, Caddy and aiohttp on the same work, side by side
	$(BIN)/python -m benchmarks run

bench-quick: env  ## the same with short runs: to see that it works, not to quote
	$(BIN)/python -m benchmarks run --quick

dist: env  ## wheel and sdist
	$(BIN)/python -m build --no-isolation

lock:  ## compile the pinned requirements (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-annotate -q pyproject.toml -o requirements.txt
	uv pip compile --universal --generate-hashes --no-header --no-annotate -q pyproject.toml --group dev -o requirements-dev.txt
	(sed '/^#/!d' $(BUILD_PINS); echo hatchling | uv pip compile --universal --generate-hashes --no-header \
		--no-annotate -q -c requirements-dev.txt -) > $(BUILD_PINS).new && mv $(BUILD_PINS).new $(BUILD_PINS)

clean:  ## remove what was built
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
