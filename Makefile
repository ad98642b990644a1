# Thin: each target is one command, which the README gives too.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: quickstart test lint benchmark install
quickstart: $(READY)
	$(BIN)/hermnet fit --config quickstart

test: $(READY)
	$(BIN)/pytest -n auto --dist loadscope

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# An hour and a half of a machine with nothing else to do; peers come from HERMNET_PEERS (docs/results/performance.md).
benchmark: $(READY)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/profile_step.py
	$(BIN)/python benchmarks/report.py

install: $(READY)

# First a torch from the folders that pip is configured to find wheels in (often a CPU build), for a
# plain install may fetch gigabytes of GPU libraries. What .venv already holds is kept.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "HermNet needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-index --no-deps --only-binary :all: "torch>=2.7" 2>/dev/null || true
	$(BIN)/python -m pip install -q -e ".[test]"
	@touch $@
