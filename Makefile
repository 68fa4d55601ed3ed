.PHONY: demo test test-slow test-gpu check clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

demo: $(STAMP)  ## Set up and answer a question about the bundled clip with its sound
	$(BIN)/soundclip describe --question "What makes the sound?"

test: $(STAMP)  ## Offline tests on CPU
	$(BIN)/python -m pytest -n auto

test-slow: $(STAMP)  ## Also the tests that take minutes or fetch an sdist from the package index
	-$(BIN)/python tests/shared_transformers.py
	$(BIN)/python -m pytest -n auto -m slow

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

check: $(STAMP)  ## Lint and types
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/mypy

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist build
