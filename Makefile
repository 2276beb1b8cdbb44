# Needs Python 3.11 or newer and make; everything else goes into .venv.
#   make demo    a masked, live, verified copy on this machine, in two minutes
#   make test    the tests, on real PostgreSQL servers that they start and stop
#   make check   lint, format, types, import rules
#   make bench   the benchmarks, each beside its reference
#   make bench-large   those that need many rows: memory, and cost per row, whatever the size
.PHONY: setup demo test check bench bench-large
.DEFAULT_GOAL := demo

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

setup: $(STAMP)

# The stamp is newer than the lock, so a second run installs nothing.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tezcat needs Python 3.11 or newer; name it with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/tezcat demo

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

bench-large: setup
	$(BIN)/python -m bench memory-stream memory-snapshot --rounds 1
