# `make demo` and `make test` need nothing but Python 3.11 or 3.12 and make.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
DEMO := demo
ROWS ?= 100000
ON_JAX := tests/layers tests/models tests/optimizers tests/explain/test_attention.py \
  tests/search/test_autofis.py tests/search/test_optinter.py tests/search/test_stage.py \
  tests/test_keras_internals.py

.PHONY: demo test test-oldest lint mutants clean

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
	$(BIN)/python -m pytest -n 2 --dist loadfile
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 --dist loadfile $(ON_JAX)

mutants: $(VENV)/installed
	$(BIN)/python tests/mutants/run.py $(MODULE) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(TESTS),--tests $(TESTS))

# With the oldest versions that pyproject.toml accepts.
$(OLDEST)/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[plots]' jax pytest pytest-xdist
	touch $@

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadfile tests/layers tests/models tests/optimizers tests/search tests/test_keras_internals.py
	KERAS_BACKEND=jax $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile $(ON_JAX)

clean:
	rm -rf $(VENV) $(OLDEST) $(DEMO) .mypy_cache .pytest_cache .ruff_cache *.egg-info build dist
