# `make demo` and `make test` need nothing but Python and make; which Pythons, README.md says.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
TORCH := .venv-torch
BIN := $(VENV)/bin
DEMO := demo
ROWS ?= 100000
ON_JAX := tests/layers tests/trees tests/models tests/optimizers tests/tables tests/search tests/explain tests/data tests/training \
  tests/compatibility tests/metrics/streaming tests/test_keras_internals.py tests/runs
MATRIX ?= .matrix

PYTEST := -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-all test-oldest test-torch test-random fuzz kills lifecycle matrix coverage mutants lint clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py --folder $(DEMO) --rows $(ROWS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python $(PYTEST) -m "not whole"
	KERAS_BACKEND=jax $(BIN)/python $(PYTEST) -m "backend and not whole" $(ON_JAX)

# With every model, data set and log where `make test` has one for each way that they are handled.
test-all: lint
	$(BIN)/python $(PYTEST)
	KERAS_BACKEND=jax $(BIN)/python $(PYTEST) -m backend $(ON_JAX)

# The suite in another order each time, which pytest-randomly prints.
test-random: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -p randomly

# Ten times the suite's requests that nobody meant, other ones each time; 2,000 damaged files.
fuzz: $(VENV)/installed
	CTR_KERAS_FUZZ_FILES=2000 CTR_KERAS_FUZZ_SEED=$$(date +%j%H%M) $(BIN)/python -m pytest -q tests/pipeline/test_fuzz.py
	CTR_KERAS_FUZZ=20000 $(BIN)/python -m pytest tests/serving/server/test_fuzz.py

# `prepare` killed at 50 random moments, and run again each time.
kills: $(VENV)/installed
	CTR_KERAS_KILLS=50 $(BIN)/python -m pytest tests/pipeline/test_prepare.py -k kill

# 10,000 random steps of models that come, go, break and are mended, others each time.
lifecycle: $(VENV)/installed
	CTR_KERAS_LIFECYCLE=10000 $(BIN)/python -m pytest tests/serving/server/test_lifecycle_random.py

# The compatibility matrix, every pair on each backend, and its page; given again, it goes on where it was.
matrix: $(VENV)/installed
	mkdir -p $(MATRIX)
	for backend in $$($(BIN)/python -m tests.compatibility.axes); do \
	  KERAS_BACKEND=$$backend CTR_KERAS_MATRIX=$(MATRIX) $(BIN)/python $(PYTEST) tests/compatibility/test_matrix.py; \
	done
	CTR_KERAS_MATRIX=$(MATRIX) $(BIN)/python -m tests.compatibility.page $(MATRIX)

# Of both backends together.
coverage: $(VENV)/installed
	$(BIN)/python $(PYTEST) -m "not whole" --cov --cov-report= --cov-fail-under=0
	KERAS_BACKEND=jax $(BIN)/python $(PYTEST) -m "backend and not whole" $(ON_JAX) --cov --cov-append --cov-report=term

mutants: $(VENV)/installed
	$(BIN)/python tests/mutants/run.py $(MODULE) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(TESTS),--tests $(TESTS))

# With the oldest versions that pyproject.toml accepts.
$(OLDEST)/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[plots,tune]' \
	  jax pandas pytest pytest-xdist scikit-learn
	touch $@

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python $(PYTEST) -m "not whole" tests/layers tests/models tests/optimizers tests/tables tests/search tests/test_keras_internals.py
	KERAS_BACKEND=jax $(OLDEST)/bin/python $(PYTEST) -m "backend and not whole" $(ON_JAX)

# Keras on PyTorch, where tables are trained whole.
$(TORCH)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plots]' torch==2.13.0 pandas pytest pytest-xdist
	touch $@

test-torch: $(TORCH)/installed
	KERAS_BACKEND=torch $(TORCH)/bin/python $(PYTEST) -m "backend and not slow" tests/layers tests/models tests/optimizers tests/tables

clean:
	rm -rf $(VENV) $(OLDEST) $(TORCH) $(DEMO) .coverage .mypy_cache .pytest_cache .ruff_cache *.egg-info build dist
