# `make demo` and `make test` need nothing but Python 3.11 or newer and a package index.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test lint types clean

install: $(STAMP)

# Made again only when pyproject.toml changes. uv where it is installed, else venv and pip.
$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		(test -d .venv || uv venv --python $(PYTHON) .venv) && uv pip install --python $(BIN)/python -e '.[dev]'; \
	else \
		(test -d .venv || $(PYTHON) -m venv .venv) && $(BIN)/python -m pip install -q -e '.[dev]'; \
	fi
	@touch $(STAMP)

demo: install
	rm -rf demo
	$(BIN)/epixs demo demo

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

types: install
	$(BIN)/mypy

clean:
	rm -rf .venv demo
