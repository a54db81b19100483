# `make demo` and `make test` need nothing but Python 3.11 or newer and a package index.
PYTHON ?= python3
# What is installed beside the plain dependencies; `make EXTRAS= test` goes without.
EXTRAS ?= [viz,cluster,browse]
# Tests side by side, each file's in one process; `make PARALLEL= test` has them one after the other.
PARALLEL ?= -n logical --maxprocesses 4 --dist loadfile
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-all lint types docs clean

install: $(STAMP)

# Made again only when pyproject.toml changes. uv where it is installed, else venv and pip: the pip that Python
# brings may be too old for dependency groups, so the venv gets a newer one first.
$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		(test -d .venv || uv venv --python $(PYTHON) .venv) && \
		uv pip install --python $(BIN)/python -e '.$(EXTRAS)' --group dev; \
	else \
		(test -d .venv || $(PYTHON) -m venv .venv) && \
		$(BIN)/python -m pip install -q 'pip>=25.1' && \
		$(BIN)/python -m pip install -q -e '.$(EXTRAS)' --group dev; \
	fi
	@touch $(STAMP)

demo: install
	rm -rf demo
	$(BIN)/epixs demo demo

test: install
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: install
	$(BIN)/python -m pytest $(PARALLEL)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

types: install
	$(BIN)/mypy

# Into site/, without network. Every link and anchor has to lead somewhere.
docs: install
	$(BIN)/zensical build --strict --clean

clean:
	rm -rf .venv demo site
