# One task runner. `make help` lists the tasks.
PYTHON ?= python3
VENV := .venv
DEV := .venv-dev
SECONDS ?= 0
MINUTES ?= 10

.PHONY: help install dev demo test test-all lint types imports generate soak bench fuzz golden-debezium clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

install: $(VENV)/bin/python ## the compiled wheel into .venv (interpreted where there is no compiler), command .venv/bin/cdc
	$(VENV)/bin/python -m pip install --quiet --upgrade '.[postgres,kafka,demo]'
	@$(VENV)/bin/cdc version

dev: ## an editable, interpreted install with the test tools into .venv-dev
	test -x $(DEV)/bin/python || $(PYTHON) -m venv $(DEV)
	SKIP_CYTHON=1 $(DEV)/bin/python -m pip install --quiet --upgrade --editable '.[test]'

lint: ## ruff
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: ## mypy, strict
	$(DEV)/bin/mypy

imports: ## import rules
	$(DEV)/bin/lint-imports
