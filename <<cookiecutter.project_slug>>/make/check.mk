# Checks: style, types and tests. `lint` changes nothing; `format` repairs what can be repaired.

.PHONY: format lint type-check test

format: .venv/bin/python ## Format the code and repair what ruff can
	.venv/bin/ruff check --fix-only --quiet $(ARGS)
	.venv/bin/ruff format $(ARGS)

lint: .venv/bin/python ## Check style, and shell scripts where shellcheck is installed; change nothing
	@.venv/bin/ruff format --check $(ARGS) || { echo "The code is not formatted. Repair it with: make format" >&2; exit 1; }
	.venv/bin/ruff check $(ARGS)
	@if command -v shellcheck >/dev/null; then shellcheck make/*.sh .envrc; \
	else echo "shellcheck is not installed: the shell scripts were not checked" >&2; fi

type-check: .venv/bin/python ## Check types
	.venv/bin/basedpyright --pythonpath .venv/bin/python $(ARGS)

test: .venv/bin/python ## Run the tests (ARGS="-k data -x": those of pytest)
	.venv/bin/python -m pytest $(ARGS)
