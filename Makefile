# make demo    set up and see it work: real ratings, an honest comparison, a newcomer's list changing click by click
# make test    set up and run the tests
# make lint    style, with ruff
# make types   types, with mypy --strict
# make docs    the documentation, into docs/_build/html; a warning is an error
# make clean   remove what these made, but keep the environment
# make distclean   remove the environment and the demo's results as well
#
# PYTHON=python3.12 make ...   picks the interpreter (3.11 or newer) that .venv is made with
# make test ARGS="-k ridge"    hands arguments to pytest
# make demo ARGS="--help"      hands arguments to the demo

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
PINS := pyproject.toml constraints.txt

# More than one thread for each worker is many times slower on small tensors, not faster.
# A class of tests stays on one worker, which fits its recommender once.
TEST_ENV := OMP_NUM_THREADS=1 MPLBACKEND=Agg

.PHONY: help demo test lint types docs clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

demo: $(STAMPS)/demo
	$(BIN)/acclimate demo $(ARGS)

test: $(STAMPS)/dev
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(ARGS)

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/dev
	$(BIN)/mypy

docs: $(STAMPS)/docs
	$(TEST_ENV) $(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Documentation: docs/_build/html/index.html"

# Each extra is installed once, and again only when the pins have changed since.
$(STAMPS)/%: $(PINS) | $(STAMPS)/venv
	$(PIP) --editable '.[$*]'
	@touch $@

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "acclimate needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

clean:
	rm -rf docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) demo
