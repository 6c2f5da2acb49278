# One command each: `make quickstart`, `make test`. Both set the machine up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := pusht,lerobot,fast
# Off-screen rendering: EGL unless the user chose otherwise.
export MUJOCO_GL ?= egl

# Suites of other simulators, each with pins of its own, so each in an environment of its own.
SUITES := metaworld robosuite

.PHONY: help install doctor quickstart test test-suites test-slow test-gpu check format types docs clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "robot-learning needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),dev]'
	@touch $@

install: $(VENV)/.installed ## create .venv and install under constraints.txt

doctor: install ## check the machine: Python, torch, rendering, disk, devices
	@$(BIN)/robot-learning doctor

quickstart: doctor ## collect play, train, evaluate and deploy; about ten minutes on two cores
	$(BIN)/robot-learning quickstart

test: doctor check ## format, lint, types, and the whole quick test suite
	$(BIN)/python -m pytest

test-suites: $(SUITES:%=test-suite-%) ## the suites of other simulators, each in an environment of its own

test-suite-%: $(VENV)-%/.installed
	$(VENV)-$*/bin/python -m pytest tests/suites/test_$*.py

# Made once, not for each run: without this, make takes it for a by-product and removes it.
.PRECIOUS: $(VENV)-%/.installed
$(VENV)-%/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*,test]'
	@touch $@

test-slow: install ## the checks that take minutes
	$(BIN)/python -m pytest -m slow

test-gpu: install ## the checks that need a CUDA device
	$(BIN)/python -m pytest -m gpu

check: install types ## format, lint and types only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: install ## rewrite files to the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The packages live in mapped folders (see pyproject.toml), so mypy sees them through a tree of links.
types: install
	@rm -rf build/types && mkdir -p build/types
	@cp -rs $(CURDIR)/robot_learning build/types/ && cp -rs $(CURDIR)/sim $(CURDIR)/hardware $(CURDIR)/datasets $(CURDIR)/configs build/types/robot_learning/
	cd build/types && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p robot_learning

clean: ## remove what installs and tests made; runs/ stays
	rm -rf $(VENV) $(SUITES:%=$(VENV)-%) build dist .mypy_cache .ruff_cache .pytest_cache *.egg-info
