# Each target does all its own set-up; nothing has to be installed by hand but Python 3.10 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=

WIRE := setup.py collector_processor/detectors/rows.py $(wildcard collector_processor/*/*.pxd) $(wildcard collector_processor/*/*.pyx collector_processor/*/*/*.pyx collector_processor/*/*.pxi collector_processor/*/*/*.pxi)

.PHONY: help check test coverage verify wheel tools e2e frameworks demo bench bench-peers fuzz clean
help:
	@echo "make demo         the whole path on real data, live in the terminal"
	@echo "make test         every test, with the Debian packages they need"
	@echo "make e2e          the real Collector, Prometheus 3, Jaeger, Rotel; 'make tools' builds them, once"
	@echo "make frameworks   the tests of every instrumented library and server, in environments that have them"
	@echo "make check        lint, types, imports, dead code, dependencies, spelling, wording, workflows"
	@echo "make wheel        the source distribution, and the wheel built from it, in dist/"
	@echo "make coverage     the tests again, with the share of lines that they run, and its floor"
	@echo "make verify       what the pages promise, measured, also against other tools (VERIFY_ARGS='--quick TOPIC')"
	@echo "make bench        what it reaches, beside what it should"
	@echo "make bench-peers  other tools on the same tables, each in its own environment (PEERS_ARGS='--rows 100000')"
	@echo "make fuzz         broken requests against both decoders, under sanitizers (FUZZ_SECONDS=60)"
	@echo "make clean        remove the virtual environment and caches"

# Exact versions where CI runs; other versions of Python need other ones.
CONSTRAINTS := $(shell $(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) and print("--constraint constraints-dev.txt")')

$(VENV)/.dev: pyproject.toml constraints-dev.txt $(WIRE)
	@echo "Installing the tools of development into $(VENV); this takes a few minutes, and happens once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

$(VENV)/.demo: pyproject.toml $(WIRE)
	@echo "Installing the demo into $(VENV); this takes one to four minutes, and happens once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pyright -p pyrightconfig.tests.json
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/codespell --builtin en-GB_to_en-US $$($(BIN)/python tools/words.py --list)
	$(BIN)/python tools/words.py
	$(BIN)/zizmor --offline --quiet .github

test: $(VENV)/.dev
	@sh tests/debian-packages.sh
	$(BIN)/python -m pytest -n auto

# Apart from make test: measuring costs a third more time, and two thirds more CPU time (measured on 640 tests).
coverage: $(VENV)/.dev
	@sh tests/debian-packages.sh
	$(BIN)/python -m pytest -n auto --cov --cov-report=term --cov-report=html:build/coverage

wheel: $(VENV)/.dev
	$(BIN)/python -m build --outdir dist

tools:
	@PYTHON="$(PYTHON)" sh tools/build.sh

e2e: $(VENV)/.dev tools
	$(BIN)/python -m pytest -n 2 --dist loadfile -m e2e tests/e2e

# FRAMEWORKS: names of environments in tests/frameworks; all by default.
FRAMEWORKS ?=
frameworks: $(VENV)/.dev
	$(BIN)/python tests/frameworks/run.py $(FRAMEWORKS)

demo: $(VENV)/.demo
	$(BIN)/otel-ml demo $(DEMO_ARGS)

# VERIFY_ARGS: topics, --quick, --offline.
VERIFY_ARGS ?= --write
verify: $(VENV)/.dev
	$(BIN)/python -m verification $(VERIFY_ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

PEERS_ARGS ?=
bench-peers: $(VENV)/.dev
	$(BIN)/python -m benchmarks.bench_peers $(PEERS_ARGS)

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.dev
	rm -rf build
	CFLAGS="$(SANITIZE) -g -O1 -fno-omit-frame-pointer" LDFLAGS="$(SANITIZE)" \
		$(BIN)/python -m pip install --quiet --no-deps --target build/fuzz .
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONMALLOC=malloc PYTHONPATH=build/fuzz $(BIN)/python fuzz/decode.py --seconds $(FUZZ_SECONDS)
	rm -rf build

clean:
	rm -rf $(VENV) .peers .frameworks .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* build dist *.egg-info
	rm -f collector_processor/*/*.so collector_processor/*/*/*.so $(patsubst %.pyx,%.c,$(filter %.pyx,$(WIRE))) collector_processor/detectors/rows.c fuzz-difference.bin
