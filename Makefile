# make demo   train the demo study on embedded data and write runs/demo/index.html
# make test   lint, type-check, and run every test that is not marked `long`
# make long   the others: long fuzz, kills, clusters (Ray, SLURM), whole studies, and what the pages say from a fresh clone
# make bench  the benchmarks, each ending with one line of JSON
# Everything happens in .venv, which is made from this project's own files.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
OUT ?= runs/demo

.PHONY: demo test long lint types quick bench mutations clean

demo: $(VENV)/.demo
	$(BIN)/byrote run demo --out $(OUT)
	$(BIN)/byrote report $(OUT)

test: lint
	$(MAKE) --no-print-directory -j 2 -O types quick
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q

long: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q -m long

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/python -m mypy

quick: $(VENV)/.dev
	$(BIN)/python scripts/mutations.py --quick --workers 1

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/analysis.py --json
	$(BIN)/python benchmarks/audit.py --json --quick
	$(BIN)/python benchmarks/engine.py --json
	$(BIN)/python benchmarks/growth.py --json
	$(BIN)/python benchmarks/measures.py --json
	$(BIN)/python benchmarks/noise_rate.py --json
	$(BIN)/python benchmarks/peer.py --json
	$(BIN)/python benchmarks/theory.py --json

mutations: $(VENV)/.dev
	$(BIN)/python scripts/mutations.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[report]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --no-compile -e '.[dev]'  # most of what is installed is never imported
	touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .hypothesis
