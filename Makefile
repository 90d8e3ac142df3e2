SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules
.DEFAULT_GOAL := help

# The parent folder of the new project, a YAML file with answers under default_context, and 1 to ask nothing.
OUTPUT ?= ..
CONFIG ?=
NO_INPUT ?=
# A benchmark of benchmarks/.
NAME ?=
# More options of pytest.
ARGS ?=
export OUTPUT CONFIG

TOOLS := .tools
CODE := generate.py local_extensions.py hooks tests

.PHONY: project demo test benchmark format lint type-check clean help

project: $(TOOLS)/project ## Generate a project beside this one (OUTPUT=folder CONFIG=answers.yaml NO_INPUT=1)
	$(TOOLS)/bin/python generate.py --output "$$OUTPUT" $(if $(CONFIG),--config "$$CONFIG") $(if $(NO_INPUT),--no-input)

demo: $(TOOLS)/project ## From nothing to a trained and tested model: the default project, under build/
	$(TOOLS)/bin/python demo.py

test: $(TOOLS)/test ## Run the template's whole test suite (ARGS="-k update")
	$(TOOLS)/bin/python -m pytest $(ARGS)

benchmark: $(TOOLS)/test ## Measure beside others (NAME=loop)
	$(TOOLS)/bin/python benchmarks/$(NAME).py

format: $(TOOLS)/test ## Rewrite the template's own Python as ruff has it
	$(TOOLS)/bin/ruff check --fix $(CODE)
	$(TOOLS)/bin/ruff format $(CODE)

lint: $(TOOLS)/test ## Check the template's own Python, changing nothing
	$(TOOLS)/bin/ruff check $(CODE)
	$(TOOLS)/bin/ruff format --check $(CODE)

type-check: $(TOOLS)/test ## Check the types of the template's own Python
	$(TOOLS)/bin/basedpyright $(CODE)

clean: ## Remove everything that the other targets made
	rm -rf build $(TOOLS) .pytest_cache .ruff_cache

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Each file stands for its requirements being installed, so that a second call does nothing.
$(TOOLS)/project $(TOOLS)/test: $(TOOLS)/%: requirements/%.txt | $(TOOLS)/bin/pip
	$(TOOLS)/bin/pip install --quiet --requirement $<
	touch $@

$(TOOLS)/bin/pip:
	python=$$(./find-python); "$$python" -m venv --clear $(TOOLS)
