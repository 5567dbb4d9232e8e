# Two commands: `make run` and `make test`. Both build the virtual environment first.
VENV ?= .venv
PYTHON ?= python3
PY = $(VENV)/bin/python
STAMP = $(VENV)/.stamp
# One BLAS thread per process: parallelism is over chips and crossbars.
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

.PHONY: run test torture test-full test-gpu quick golden golden-check docs bench lint clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("cimsim needs Python 3.11 or newer") if sys.version_info < (3, 11) else 0'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $(STAMP)

# Chips of `make run`: one of each technology and kind, so that a run stays under five minutes.
# The other presets run the same way: make run CHIPS='puma npu_hbm'
CHIPS ?= eflash_40nm hermes isaac neurram raella sram_analog_22nm sram_digital_28nm \
	sram_switching_28nm

run: $(STAMP)
	@echo "chips: $(CHIPS)"
	$(PY) -m cimsim run $(CHIPS) --out reports/latest --overwrite

# A file is one worker's; tests/conftest.py says which start first, and which are spread.
SPREAD = -n 2 --no-loadscope-reorder

test: $(STAMP)
	$(PY) -m pytest $(SPREAD)

test-full: $(STAMP)
	CIMSIM_FULL_TESTS=1 $(PY) -m pytest $(SPREAD) --timeout 3600

# Hostile and broken inputs, full disks, kills: all of them, with a summary of how they ended.
torture: $(STAMP)
	CIMSIM_FULL_TESTS=1 $(PY) -m pytest -n 0 --timeout 7200 tests/torture

# Kernels on a CUDA device: parity with the Numba tile and the plain twins, then figures. Uses the
# python that has torch with CUDA (GPU_PYTHON); what it prints is kept under reports/gpu/.
GPU_PYTHON ?= $(PY)
test-gpu:
	mkdir -p reports/gpu
	$(GPU_PYTHON) -m pytest -vv -m gpu tests/backends/test_torch_kernels.py \
		tests/backends/test_torch_experts.py tests/backends/test_detailed_experts.py \
		tests/pipeline/test_torch_gpu.py > reports/gpu/tests.txt || \
		{ tail -40 reports/gpu/tests.txt; exit 1; }
	$(GPU_PYTHON) -m cimsim bench torch --json > reports/gpu/bench.json
	cat reports/gpu/bench.json

# Rewrite the stored results (tests/golden/README.md) and print what has changed.
golden: $(STAMP)
	$(PY) -m tests.golden

golden-check: $(STAMP)
	$(PY) -m pytest tests/golden -n 2 --dist worksteal
# What a change needs before a commit: lint, types, and the tests beside what changed.
quick: lint
	$(PY) -m pytest -x --timeout 100 $$($(PY) tests/beside.py)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "pages: site/index.html"

bench: $(STAMP)
	$(PY) -m cimsim bench mac
	$(PY) -m cimsim bench engine

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
