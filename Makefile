# Everything runs in a virtual environment of its own; the first call sets it up.
PYTHON ?= python3
VENV := $(if $(GPU),.venv-gpu,.venv)
BIN := $(VENV)/bin
RUNTIME := $(if $(GPU),gpu,cpu)
DEVICE := $(if $(GPU),cuda,cpu)
WORKERS ?= 2

.PHONY: demo examples test test-oracle test-runtimes test-gpu bench bench-gpu format clean

demo: $(VENV)/.demo
	$(BIN)/graphc demo --device $(DEVICE) --out out/demo

# Regenerates every figure of docs/examples.
examples: $(VENV)/.examples
	$(BIN)/python examples/run_all.py --out docs/figures

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) -m "not oracle and not nightly and not gpu and not runtimes"

test-oracle: $(VENV)/.oracle
	$(BIN)/python -m pytest -n $(WORKERS) -m "oracle and not nightly" tests/oracle

# Without npm or a network, the tests that need the packages are skipped and say so.
test-runtimes: $(VENV)/.runtimes
	-npm install --prefix examples/browser --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error
	$(BIN)/python -m pytest -n $(WORKERS) -rs -m "runtimes and not nightly" tests/other_runtimes

# Both write their table to out/, and need an NVIDIA GPU.
test-gpu: .venv-gpu/.test
	.venv-gpu/bin/python -m pytest -m gpu tests/gpu

bench-gpu: .venv-gpu/.test
	.venv-gpu/bin/python -m bench.gpu --out out/gpu-bench.md

# Writes docs/benchmarks.md. Makes an environment for each peer in .bench first: downloads of some GB.
bench: $(VENV)/.dev
	$(BIN)/python -m bench

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-gpu .bench out examples/browser/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "graphc needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $*

.venv-gpu/.test: pyproject.toml | .venv-gpu/bin/python
	.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[gpu,demo,test]"
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(RUNTIME),demo]"
	@touch $@

$(VENV)/.examples: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(RUNTIME),examples]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

$(VENV)/.oracle: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,oracle]"
	@touch $@

$(VENV)/.runtimes: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,runtimes]"
	@touch $@
