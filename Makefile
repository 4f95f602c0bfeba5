# Each target does all its own set-up; nothing has to be installed by hand but Python 3.10 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=

.PHONY: help check test demo clean
help:
	@echo "make demo    the whole path on real data, live in the terminal"
	@echo "make test    every test, with the Debian packages they need"
	@echo "make check   ruff, pyright (strict), import-linter"
	@echo "make clean   remove the virtual environment and caches"

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: $(VENV)/.dev
	@sh tests/debian-packages.sh
	$(BIN)/python -m pytest -n auto

demo: $(VENV)/.demo
	$(BIN)/otel-ml demo $(DEMO_ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build *.egg-info
