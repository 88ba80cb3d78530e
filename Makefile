# Everything runs from a virtual environment in .venv, which the first target that needs it builds.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test fuzz chaos kills bench soak leavers restarts package lint format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-cli ## send real traffic through a forwarded port, and check every byte
	@$(BIN)/muxpy demo

# The coverage data lives in a folder of this run's own, so that two runs may overlap. Compiled code is kept, whatever
# the environment says of that: hundreds of processes are started, and each would compile all of the program.
test: lint ## lint, then all tests with branch coverage
	@data=$$(mktemp -d) && trap 'mv -f "$$data/coverage" .coverage 2>/dev/null; rm -rf "$$data"' EXIT && \
	PYTHONDONTWRITEBYTECODE= COVERAGE_FILE="$$data/coverage" \
	$(BIN)/python -m pytest -n auto --maxprocesses=8 --dist=worksteal --cov \
		$(if $(CI),--durations=10) $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev ## look for what breaks it, about 5 minutes; longer with SECONDS=3600, a part with ONLY=pair
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(ONLY)

chaos: $(VENV)/.installed-dev ## sessions over links that cut and damage, 2 minutes; longer with SECONDS=3600, a part with ONLY=tls
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(ONLY)

kills: $(VENV)/.installed-dev ## kill -9 of either end of a tunnel under load, 1,000 times, 15 minutes; fewer with ROUNDS=100
	@$(BIN)/python -m tests.kills $(if $(ROUNDS),--rounds $(ROUNDS))

bench: $(VENV)/.installed-bench ## measure it beside TCP, ssh, Go's multiplexers, servers of HTTP/2 and libraries for calls; a part of it with ONLY=echo
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only "$(ONLY)") $(BENCH_ARGS)

soak: $(VENV)/.installed-bench ## sessions and streams that come and go, 10 minutes, and nothing may be left; shorter with SECONDS=120
	@$(BIN)/python -m tests.soak $(if $(SECONDS),--seconds "$(SECONDS)") $(SOAK_ARGS)

leavers: $(VENV)/.installed-dev ## HTTP/2 clients that are killed and stopped under load, 1 minute; longer with SECONDS=3600
	@$(BIN)/python -m tests.interop.http2.leavers $(if $(SECONDS),--seconds $(SECONDS))

restarts: $(VENV)/.installed-dev ## restart a server under wrk and curl 100 times, and no connection may fail; fewer with COUNT=10
	@$(BIN)/python -m tests.cli.real.rolling $(or $(COUNT),100)

package: $(VENV)/.installed-dev ## build it into dist/, check that, and try it in fresh environments of all Pythons that are here
	@rm -rf dist && $(BIN)/python -m build && $(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python -m tests.distribution.environments dist/*.whl

lint: $(VENV)/.installed-dev ## ruff check, ruff format --check and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

format: $(VENV)/.installed-dev ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## delete .venv, caches and build products
	rm -rf $(VENV) build dist *.egg-info cli/*.egg-info .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs the extra $(1). The stamps go first and come back last, so that an install which was cut short is done again.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "muxpy needs Python 3.11 or newer as $(PYTHON); name another with: make PYTHON=python3.12" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
@rm -f $(VENV)/.installed-*
@echo "Installing muxpy-trio[$(1)] into $(VENV) ..."
@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
endef

$(VENV)/.installed-cli: pyproject.toml
	$(call install,cli)
	@touch $@

$(VENV)/.installed-bench: pyproject.toml
	$(call install,bench)
	@touch $(VENV)/.installed-cli $@

$(VENV)/.installed-dev: pyproject.toml
	$(call install,dev)
	@touch $(VENV)/.installed-cli $(VENV)/.installed-bench $@
