# Each target sets up what it needs in .venv, once; only Python >= 3.11 and make must be there.
# `make test PYTEST_ARGS="-k cli -x"` narrows a run; `make demo FILE=x.csv TARGET=y` shows your own table.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python3.14; do \
	command -v $$name >/dev/null 2>&1 && $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$name; break; }; done)
PYTEST_ARGS ?= -n auto --dist worksteal
BENCH_ARGS ?=

# The tests start some hundred processes, each of which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint clean

help: ## what there is
	@echo "make demo    train and score a real table and a million generated rows, in SQL"
	@echo "make test    run the tests"
	@echo "make bench   measure against what people would use instead"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove .venv, caches and build results"

demo: $(VENV)/.ready-demo
	@$(BIN)/dbml demo $(if $(FILE),"$(FILE)" --target "$(TARGET)")

test: $(VENV)/.ready-test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(VENV)/.ready-bench
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

lint: $(VENV)/.ready-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with venv found; install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.ready-%: pyproject.toml | $(BIN)/python
	@echo "installing dbml[$*] into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
