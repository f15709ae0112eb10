# One command each: setup, quickstart, test, lint, benchmark. Every target builds the environment it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Package files on this machine that pip is told of are offered to uv as well.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt
MANIFESTS := pyproject.toml constraints.txt plugins/pangu-verl-cpu/pyproject.toml
PLUGINS := cpu ifeval judge paced sandboxfusion
PYTEST := $(BIN)/python -m pytest

.PHONY: setup quickstart test test-apart test-together test-full test-verl lint format benchmark benchmark-rewards benchmark-scheduler \
	benchmark-queue benchmark-modes readme lock release clean

setup: $(VENV)/.runtime

$(BIN)/uv:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) else "pangu-verl needs Python 3.11 or 3.12, found %d.%d; set PYTHON=..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.runtime: $(BIN)/uv $(MANIFESTS)
	$(INSTALL) --quiet --editable . --editable plugins/pangu-verl-cpu
	@touch $@

$(VENV)/.development: $(VENV)/.runtime $(PLUGINS:%=plugins/pangu-verl-%/pyproject.toml)
	$(INSTALL) --quiet --editable '.[dev]' $(PLUGINS:%=--editable plugins/pangu-verl-%)
	@touch $@

quickstart: $(VENV)/.runtime
	$(BIN)/pangu-verl quickstart

# Ray and TransferQueue leave threads of their own in a process, so the tests that start them there have one to themselves.
# They wait more than they compute, so the others run beside them.
test: lint
	$(MAKE) --jobs=2 test-apart test-together

test-apart:
	$(PYTEST) -m own_process

test-together:
	$(PYTEST) -m 'not slow and not own_process'

test-full: lint
	$(PYTEST) -m own_process
	$(PYTEST) -m 'not own_process'

test-verl: $(VENV)/.development
	$(BIN)/python tests/compatibility/verl_suite.py

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(VENV)/.runtime
	$(BIN)/python benchmarks/systems/quickstart.py

# The data sets are the user's: make benchmark-rewards DATA=folder
benchmark-rewards: $(VENV)/.development
	$(BIN)/python benchmarks/systems/rewards.py $(DATA) --repeats 3 \
		--parts maths,hostile,code,mutants,attacks,general,instructions,endurance

# In the simulator: the same on any machine, but for the part scale. About an hour on two cores.
benchmark-scheduler: $(VENV)/.runtime
	$(BIN)/python benchmarks/systems/scheduler.py
	$(BIN)/python benchmarks/systems/readme.py

benchmark-queue: $(VENV)/.runtime
	$(BIN)/python benchmarks/systems/queue.py --repeats 7
	$(BIN)/python benchmarks/systems/readme.py

# With paced compute, on a machine that does nothing else: two and a half hours on two cores.
benchmark-modes: $(VENV)/.development
	$(BIN)/python benchmarks/systems/verl_modes.py --repeats 3
	$(BIN)/python benchmarks/systems/readme.py

readme: $(VENV)/.development
	$(BIN)/python docs/readme.py

# The exact set, from the ranges in pyproject.toml, for what is installed now.
lock: $(VENV)/.development
	$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable | sed 's/+cpu//' > constraints.txt

# Checks that this commit may be released, builds it into dist/ and says how to publish it; it publishes nothing.
release: $(VENV)/.development
	$(BIN)/python .ci/release.py

clean:
	rm -rf $(VENV) build dist
