# `make demo` and `make test` need nothing but Python 3.11 or 3.12 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
ROWS ?= 100000
ON_JAX := tests/layers tests/models tests/optimizers tests/search tests/explain

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-random fuzz coverage lint clean

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
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m backend $(ON_JAX)

# The suite in another order each time, which pytest-randomly prints.
test-random: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -p randomly

# Ten times the suite's requests that nobody meant, other ones each time.
fuzz: $(VENV)/installed
	CTR_KERAS_FUZZ=20000 $(BIN)/python -m pytest tests/serving/server/test_fuzz.py

coverage: $(VENV)/installed
	$(PYTEST) --cov --cov-report=term-missing

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .pytest_cache .ruff_cache *.egg-info build dist
