# Everything runs in its own environment, .venv, made on first use.
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A test run spreads over the cores, whole files together.
PYTEST := $(BIN)/pytest -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test adversary lint format bench fuzz clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## a channel, 20,000 paid calls and a unilateral close, on a chain of its own
	@$(BIN)/lightspeed demo --json build/demo.json

test: $(READY) ## all tests
	@$(PYTEST)

adversary: $(READY) ## known attacks, broken builds, deaths, then random games for ADVERSARY_SECONDS (600) in all
	@$(BIN)/python tests/adversary_run.py

lint: $(READY) ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## put the code into its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## measure everything and write docs/performance.md
	@$(BIN)/python -m bench

fuzz: $(READY) ## coverage-guided fuzzing of every parser, FUZZ_SECONDS (60) each
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fuzz]'
	@for target in fuzz/fuzz_*.py; do echo "$$target"; \
		$(BIN)/python $$target -max_total_time=$(or $(FUZZ_SECONDS),60) || exit 1; done

clean: ## remove the environment and everything built
	@rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
