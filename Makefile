# make roadmap      trains all thirteen steps on the embedded digits and draws the curve
# make test         the tests, in minutes
# make test-system  those that kill, restart or need a server
# make check        lint, format, types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
## These networks are too small for several threads; several runs at once use the cores better.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count(), 8))')

## Tests start many processes: each would compile the package anew where the environment forbids bytecode files.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install roadmap test test-system check format
help:
	@sed -n 's/^# //p' Makefile

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version); try make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

roadmap: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python train.py -m +sweep=roadmap seed=0,1,2 \
		hydra/launcher=joblib hydra.launcher.n_jobs=$(JOBS)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not system'

test-system: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 20 -m 'system and not alone'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m alone

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
