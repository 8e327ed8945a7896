# One task runner. `make help` lists the tasks.
PYTHON ?= python3
VENV := .venv
DEV := .venv-dev
TEST := .venv-test
SECONDS ?= 0
MINUTES ?= 10
# A file's tests stay together: they share servers. Two at a time, as many as the reference machine has cores.
PARALLEL := -n 2 --dist loadfile

.PHONY: help install dev demo test test-all lint types imports generate soak bench fuzz golden-debezium clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# What the wheel is made of. The list is part of the stamp, since a file that went away is a change too.
SOURCES := pyproject.toml setup.py $(sort $(shell find cdc connectors -name '*.py' -o -name '*.pxd' -o -name py.typed))

# The last thing that `venv` makes: without it an interrupted one is completed.
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/sources: FORCE | $(VENV)/bin/pip
	@echo '$(SOURCES)' | cmp -s - $@ || echo '$(SOURCES)' > $@

$(VENV)/stamp: $(SOURCES) $(VENV)/sources | $(VENV)/bin/pip
	@echo 'installing into $(VENV)'
	@rm -rf build/lib* build/bdist*  # or what is no longer a source would still be packed
	@$(VENV)/bin/python -m pip install --quiet '.[postgres,kafka,demo]'
	@$(VENV)/bin/cdc version | grep -q '^build=compiled' || echo 'note: no C compiler or no Python headers; cdc runs interpreted, slower. Install both, remove $(VENV) and repeat to change that.'
	@touch $@

install: $(VENV)/stamp ## the compiled wheel into .venv (interpreted where there is no compiler), command .venv/bin/cdc
	@$(VENV)/bin/cdc version

demo: $(VENV)/stamp ## a shop, watched live by the connector: SECONDS=10 ends by itself
	@$(VENV)/bin/python -m demo --seconds $(SECONDS)

FORCE:

dev: ## an editable, interpreted install with the test tools into .venv-dev
	test -x $(DEV)/bin/python || $(PYTHON) -m venv $(DEV)
	SKIP_CYTHON=1 $(DEV)/bin/python -m pip install --quiet --editable '.[test]'
	echo $(CURDIR) > $$($(DEV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/repository.pth

# The repo's root comes last on the path of both test environments: tests are found there, the packages where they are installed.
$(TEST)/stamp: pyproject.toml setup.py $(shell find cdc connectors -name '*.py' -o -name '*.pxd')
	test -x $(TEST)/bin/python || $(PYTHON) -m venv $(TEST)
	rm -rf build/wheel && REQUIRE_CYTHON=1 $(TEST)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	wheel=$$(ls build/wheel/*.whl) && $(TEST)/bin/python -m pip install --quiet "$$wheel[test]" && \
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall "$$wheel"
	echo $(CURDIR) > $$($(TEST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/repository.pth
	touch $@

test: dev $(TEST)/stamp ## the whole suite on the compiled build; unit, conformance and one kill test on the interpreted one too
	TEST_BUILD=compiled $(TEST)/bin/pytest $(PARALLEL) tests
	TEST_BUILD=interpreted $(DEV)/bin/coverage run -m pytest $(PARALLEL) tests/unit tests/conformance tests/faults/test_kill.py
	@$(DEV)/bin/coverage combine --quiet && $(DEV)/bin/coverage report --skip-covered | tail -n 40

test-all: dev $(TEST)/stamp ## every suite on every server and both builds: long
	TEST_ALL=1 TEST_BUILD=compiled $(TEST)/bin/pytest $(PARALLEL) tests
	TEST_ALL=1 TEST_BUILD=interpreted $(DEV)/bin/pytest $(PARALLEL) tests

bench: $(TEST)/stamp ## drain rate beside pg_recvlogical: CHANGES=1000000 RUNS=3, QUICK=1
	$(TEST)/bin/python -P -m benchmarks.drain $(if $(QUICK),--changes 100000 --runs 1,--changes $(or $(CHANGES),1000000) --runs $(or $(RUNS),3))

soak: $(TEST)/stamp ## random kills under load: MINUTES=10 SEED=… BREAK=<sabotage>
	$(TEST)/bin/python -P -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(BREAK),--break $(BREAK))

fuzz: dev ## parsers under random bytes, each target for MINUTES; TARGET=decoder_plain for one
	$(DEV)/bin/python -P -m tests.fuzz --minutes $(MINUTES) $(TARGET)

golden-debezium: dev ## Debezium over a fixed script, anew: tests/golden/debezium (needs a JDK; the engine is kept in the tests' cache)
	$(DEV)/bin/python -P -m tests.golden.record

lint: ## ruff
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: ## mypy, strict
	$(DEV)/bin/mypy

imports: ## import rules
	$(DEV)/bin/lint-imports

generate: ## the files that are made from the code
	$(DEV)/bin/cdc settings --format env > config/example.env
	$(DEV)/bin/cdc settings --format markdown > docs/settings.md
	$(DEV)/bin/cdc settings --format json-schema > config/schema/settings.json
	$(DEV)/bin/python -P -m tests.documents relist
	$(DEV)/bin/python -P -m tests.documents failure-modes > docs/failure-modes.md
	$(DEV)/bin/python -P -m tests.documents types > docs/types.md

.PHONY: lock image
lock: ## the image's pinned packages anew, requirements/*.txt; UPGRADE=1 takes the newest
	scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && $(PYTHON) -m venv "$$scratch" && \
	"$$scratch/bin/pip" install --quiet 'pip-tools>=7.4' && export CUSTOM_COMPILE_COMMAND='make lock' && \
	compile="$$scratch/bin/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links $(if $(UPGRADE),--upgrade)" && \
	$$compile --extra postgres --extra kafka --output-file requirements/image.txt pyproject.toml && \
	$$compile --allow-unsafe --only-build-deps --build-deps-for wheel --output-file requirements/build.txt pyproject.toml

image: dev ## the container image, built without a container engine (root, Debian); prints its size
	$(DEV)/bin/python -m tests.image
