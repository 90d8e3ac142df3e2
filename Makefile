SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# For `project`: the folder that will hold it, a YAML file with answers under default_context, and 1 to ask nothing.
OUTPUT ?= ..
CONFIG ?=
NO_INPUT ?=
# For `benchmark`: which of benchmarks/.
NAME ?=
# For `test` and `benchmark`: options of pytest and of the benchmark.
ARGS ?=

TOOLS := .tools
CODE := generate.py local_extensions.py hooks tests
FORMATTED := $(CODE) benchmarks
DEMO := build/my-research
# What belongs to the user's own work: no account, server or environment of theirs may decide how the demo ends.
OWN := $(foreach name,ARGS CONFIG OUTPUT VIRTUAL_ENV PYTHONPATH RUNS_PATH LABKIT_RUN_ID RANK LOCAL_RANK SLURM_PROCID \
    MLFLOW_RUN_ID MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD SLACK_URL,-u $(name))

.PHONY: project demo test environment benchmark format lint type-check clean help

project: export OUTPUT := $(OUTPUT)
project: export CONFIG := $(CONFIG)
project: $(TOOLS)/project ## Generate a project beside this one (OUTPUT=folder CONFIG=answers.yaml NO_INPUT=1)
	@$(TOOLS)/bin/python generate.py --output "$$OUTPUT" $(if $(CONFIG),--config "$$CONFIG") $(if $(NO_INPUT),--no-input)

demo: environment ## From nothing to a trained and tested model: the default project, under build/
	env $(OWN) $(MAKE) -C $(DEMO) train
	env $(OWN) $(MAKE) -C $(DEMO) evaluate

test: $(TOOLS)/test environment ## Run the template's whole test suite (ARGS="-k update")
	$(TOOLS)/bin/python -m pytest $(ARGS)

benchmark: environment ## Measure beside others (NAME=loop ARGS=--help)
	$(DEMO)/.venv/bin/python -m benchmarks.$(NAME) $(ARGS)

format: $(TOOLS)/test ## Rewrite the template's own Python as ruff has it
	$(TOOLS)/bin/ruff check --fix $(FORMATTED)
	$(TOOLS)/bin/ruff format $(FORMATTED)

lint: $(TOOLS)/test ## Check the template's own Python and shell, changing nothing
	$(TOOLS)/bin/ruff check $(FORMATTED)
	$(TOOLS)/bin/ruff format --check $(FORMATTED)
	$(TOOLS)/bin/shellcheck find-python .ci/run tests/services/*.sh

type-check: $(TOOLS)/test | $(DEMO)/.venv ## Check the types of the template's own Python
	$(TOOLS)/bin/basedpyright --pythonpath $(TOOLS)/bin/python $(CODE)
	$(TOOLS)/bin/basedpyright --pythonpath $(DEMO)/.venv/bin/python benchmarks

clean: ## Remove everything that the other targets made
	rm -rf build $(TOOLS) .pytest_cache .ruff_cache

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The default project, generated anew; of the one before it, the environments are kept, which take the time, and the runs.
environment: $(TOOLS)/project
	@mkdir -p build/kept
	@for folder in .tools .venv runs mlruns mlflow.db; do \
	    if [[ -e $(DEMO)/$$folder ]]; then rm -rf build/kept/$$folder; mv $(DEMO)/$$folder build/kept/; fi; \
	done
	@rm -rf $(DEMO)
	@echo '{default_context: {project_name: My Research}}' > build/answers.yaml
	$(TOOLS)/bin/python generate.py --output build --config build/answers.yaml --no-input > build/generation.log
	@find build/kept -mindepth 1 -maxdepth 1 -exec mv {} $(DEMO)/ \;
	env $(OWN) $(MAKE) -C $(DEMO) init TORCH=auto

# What the benchmarks import.
$(DEMO)/.venv:
	@$(MAKE) environment

# Each of these files says that its requirements are installed, so that a second call does nothing.
$(TOOLS)/project $(TOOLS)/test: $(TOOLS)/%: requirements/%.txt | $(TOOLS)/bin/pip
	@echo "Setting up the tools of make $*"
	@$(TOOLS)/bin/pip install --quiet --requirement $<
	@touch $@

$(TOOLS)/bin/pip:
	@python=$$(./find-python); "$$python" -m venv --clear $(TOOLS)
