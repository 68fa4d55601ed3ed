.PHONY: demo test test-slow test-gpu test-lowest test-newest check docs lock clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
PROJECT := pyproject.toml requirements/install.sh
COMPILE = $(BIN)/uv pip compile pyproject.toml --all-extras --upgrade --quiet --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock"

demo: $(VENV)/.installed  ## Set up and answer a question about the bundled clip with its sound
	$(BIN)/soundclip describe --question "What makes the sound?"

test: $(VENV)/.installed  ## Offline tests on CPU
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.installed  ## Also the tests that take minutes or fetch an sdist from the package index
	-$(BIN)/python tests/support/shared_transformers.py
	$(BIN)/python -m pytest -n auto -m slow

test-gpu: $(VENV)/.installed
	$(BIN)/python -m pytest -m gpu

test-lowest: $(LOWEST)/.installed  ## Model, README and demo with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -n auto tests/modeling tests/test_readme.py
	$(LOWEST)/bin/soundclip describe --question "What makes the sound?"

test-newest: $(VENV)/.installed  ## The offline tests and the demo with the newest releases of everything
	$(BIN)/python scripts/test_newest.py

check: $(VENV)/.installed  ## Lint and types
	$(BIN)/ruff check src tests scripts examples
	$(BIN)/ruff format --check src tests scripts examples
	$(BIN)/mypy

docs: $(VENV)/.installed  ## The documentation site, into site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

lock: $(VENV)/.installed  ## Renew both locks with the newest releases that pyproject.toml allows
	$(COMPILE) --universal --python-version 3.11 --output-file requirements/locked.txt
	$(COMPILE) --resolution lowest-direct --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--output-file requirements/lowest.txt

$(VENV)/.installed: $(PROJECT) requirements/locked.txt
	requirements/install.sh $(VENV) requirements/locked.txt $(PYTHON)
	touch $@

$(LOWEST)/.installed: $(PROJECT) requirements/lowest.txt
	requirements/install.sh $(LOWEST) requirements/lowest.txt $(PYTHON)
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) .venv-newest dist build site
