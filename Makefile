# `make help` lists the targets. PYTHON names the interpreter that makes .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
OLDEST := .github/constraints/oldest.txt
ALL_CORES := --numprocesses auto --dist worksteal
ARGS ?=

# Tests start many processes, each of which would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install train test test-quick test-exhaustive test-extras test-browser test-oldest lint format schema docs tensorboard doctor fork upgrade clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

install: $(STAMP)  ## make .venv and install musigma with its tools

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(STAMP)

train: $(STAMP)  ## train the default model; ARGS="model=vae seed=1" are overrides
	$(BIN)/python scripts/train.py data.fallback=sample $(ARGS)

test: $(STAMP)  ## run the tests; ARGS="-k loader" are pytest's
	$(BIN)/python -m pytest $(ALL_CORES) -m "not exhaustive and not extras" $(ARGS)

test-exhaustive: $(STAMP)  ## run those that `make test` leaves out, and mutate many configs
	$(BIN)/python -m pytest $(ALL_CORES) -m exhaustive $(ARGS)
	$(BIN)/python -m pytest $(ALL_CORES) --hypothesis-profile=many tests/musigma/config/test_mutations.py

test-quick: $(STAMP)  ## run those that take seconds, in about a minute
	$(BIN)/python -m pytest $(ALL_CORES) -m "not slow and not exhaustive and not extras" $(ARGS)

test-extras: $(STAMP)  ## install the extras that tests need, and run these
	$(BIN)/pip install --quiet --editable '.[joblib,submitit,ray,optuna,wandb,onnx,flows]'
	$(BIN)/python -m pytest $(ALL_CORES) -m extras $(ARGS)

test-browser: $(STAMP)  ## look at the pages with the system's Chromium, by playwright
	$(BIN)/pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/musigma/test_browser.py $(ARGS)

test-oldest: .venv-oldest/.installed  ## run them with the oldest versions; Python 3.11 or 3.12
	.venv-oldest/bin/python -m pytest $(ALL_CORES) -m "not exhaustive and not extras" $(ARGS)

.venv-oldest/.installed: pyproject.toml $(OLDEST)
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --editable '.[dev]' --constraint $(OLDEST)
	touch $@

lint: $(STAMP)  ## check style, types and which package imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP)  ## write configs/schema.json, by which editors check configs
	$(BIN)/python scripts/schema.py

docs: $(STAMP)  ## write the API reference, docs/api/index.html
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/python scripts/docs.py

tensorboard: $(STAMP)  ## show the runs at http://localhost:6006/#custom_scalars
	$(BIN)/tensorboard --logdir logs

doctor: $(STAMP)  ## say whether this machine is ready, and what to do if not
	$(BIN)/python scripts/doctor.py

fork: $(STAMP)  ## make this NAME=your_project; ARGS="--new-history --minimal"
	$(BIN)/python scripts/fork.py $(NAME) $(ARGS)

upgrade: $(STAMP)  ## take a newer workbench: FROM=path-or-address[@ref]
	$(BIN)/python scripts/upgrade.py $(FROM) $(ARGS)

clean:  ## remove .venv and caches; runs and data stay
	rm -rf .venv .venv-oldest .mypy_cache .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info
	find src scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
