# `make help` lists the targets. PYTHON names the interpreter that makes .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train test lint format tensorboard clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## make .venv and install musigma with its tools

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(STAMP)

train: $(STAMP)  ## train the default model; ARGS="model=vae seed=1" are overrides
	$(BIN)/python scripts/train.py data.fallback=sample $(ARGS)

test: $(STAMP)  ## run the tests; ARGS="-k loader" are pytest's
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## check style, types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tensorboard: $(STAMP)  ## look at the runs in a browser
	$(BIN)/tensorboard --logdir logs

clean:  ## remove .venv and caches; runs and data stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info
	find src scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
