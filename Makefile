# Everything here works on a machine with python3 (3.11 or newer) and make. Each target sets up what it needs in
# .venv, once, from the hashed lists in requirements/, and again when these change.

VENV ?= .venv
PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
COMPILE := uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	--custom-compile-command "make lock" pyproject.toml --extra demo --group build

.PHONY: help demo test check bench soak lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    see a database backed up, proven, lost and brought back"
	@echo "make test    run the tests, against every PostgreSQL at hand        (WORKERS=2, ARGS=\"-k name\")"
	@echo "make check   lint, formatting, types, layers"
	@echo "make bench   measure speed against pg_dump                          (ARGS=…)"
	@echo "make soak    run the long tests"
	@echo "make lock    resolve requirements/ anew (needs uv)"
	@echo "make clean   remove everything that make made, $(VENV) too"

demo: $(VENV)/.run
	@$(BIN)/holdfast demo $(ARGS)

test: $(VENV)/.dev
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not soak" $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev
	@$(BIN)/python bench/run.py $(ARGS)

soak: $(VENV)/.dev
	@$(BIN)/pytest -m soak --timeout 0 $(ARGS)

lock:
	@$(COMPILE) --output-file requirements/run.txt
	@$(COMPILE) --group dev --constraint requirements/run.txt --output-file requirements/dev.txt

clean:
	rm -rf build dist bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(VENV)
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON) is missing or older than Python 3.11; name another: make PYTHON=python3.13 …" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make virtual environments; install what it lacks:" >&2; \
		$(PYTHON) -c 'import sys; print("  apt-get install python%d.%d-venv" % sys.version_info[:2])' >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

# The package itself goes in last, editable, built by what the hashed list brought.
define install
	@echo "setting up $(VENV) from $(1)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	@$(PIP) install --require-hashes --requirement $(1)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements/run.txt)

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements/dev.txt)
