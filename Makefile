# Every verb installs what it needs into .venv/ first; nothing is installed anywhere else,
# but for the Debian packages that the tests need (scripts/debian-packages).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_DATA ?= demo-data
WEB ?= 127.0.0.1:8080
HEP ?= 127.0.0.1:9060

.DEFAULT_GOAL := help
.PHONY: help demo run test lint fix bench docs lock fuzz clean

help:  ## what each verb does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@scripts/make-venv $(PYTHON) $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install -q --require-hashes -r requirements.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install -q --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.runtime  ## a running console on embedded stores with recorded traffic
	$(BIN)/ringback demo --data $(DEMO_DATA) --web $(WEB) --hep $(HEP)

run: $(VENV)/.runtime  ## the server on data/
	$(BIN)/ringback serve --data data --web $(WEB) --hep $(HEP)

test: $(VENV)/.dev  ## lint, types, import rules and every test (needs scripts/debian-packages)
	@scripts/debian-packages
	-@[ -n "$$RINGBACK_TEST_OPENSEARCH_URL" ] || $(BIN)/python -m scripts.opensearch assemble
	@$(BIN)/python -m scripts.oidc_provider
	$(MAKE) lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## ruff, mypy --strict, import-linter, generated docs up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ringback docs --check

fix: $(VENV)/.dev  ## mend what can be mended by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.runtime  ## write the generated pages under docs/
	$(BIN)/ringback docs

bench: $(VENV)/.dev  ## the measurements, each beside a peer or a limit in the same run
	@scripts/debian-packages
	$(BIN)/python -m bench $(BENCH)

fuzz: $(VENV)/.dev  ## coverage-guided fuzzing of the readers, FUZZ_SECONDS each (default 60)
	$(BIN)/python -m tests.fuzz $(or $(FUZZ_SECONDS),60)

lock: $(VENV)/.dev  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile -q --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build --extra dev pyproject.toml -o requirements-dev.lock

clean:  ## remove .venv, caches and the demo's data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-data
