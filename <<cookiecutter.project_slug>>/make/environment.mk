# The environment: Python and tools (.tools), the locked packages (.venv), and the package built from this project.

# Which build of PyTorch: cuda (as locked), cpu, or auto (cpu where it can be found). Once chosen, it stays until chosen
# anew; the first choice is cuda, and auto where CI is set.
TORCH ?=
# The address of an index of PyTorch's CPU builds, where the usual indices hold none.
TORCH_INDEX ?=
# Optional groups of pyproject.toml to install as well, separated by spaces: make init WITH=server
WITH ?=
# Poetry: the one in .tools, unless you name your own.
POETRY ?=

export TORCH TORCH_INDEX WITH POETRY

.PHONY: init install lock update add build clean

init: ## Set up Python, the tools and the locked environment (TORCH=cpu: without CUDA)
	@python=$$(make/python.sh) && "$$python" make/environment.py init

install: ## Bring the environment back to exactly what the lock says
	@python=$$(make/python.sh) && "$$python" make/environment.py install

lock: ## Lock again after a change of pyproject.toml, and install
	@python=$$(make/python.sh) && "$$python" make/environment.py poetry lock $(ARGS)
	@$(MAKE) --no-print-directory init

update: ## Lock the newest versions that pyproject.toml allows, and install (ARGS=numpy: of one package)
	@python=$$(make/python.sh) && "$$python" make/environment.py poetry update --lock $(ARGS)
	@$(MAKE) --no-print-directory init

add: ## Add a package to pyproject.toml and the lock, and install (ARGS=einops)
	@python=$$(make/python.sh) && "$$python" make/environment.py poetry add --lock $(ARGS)
	@$(MAKE) --no-print-directory init

build: ## Build the wheel and the source distribution into dist/
	@python=$$(make/python.sh) && "$$python" make/environment.py poetry build --clean $(ARGS)

clean: ## Remove what was built and cached; runs and data stay
	rm -rf dist .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . \( -name .venv -o -name .tools -o -name .server -o -name .git \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# Every target that needs the environment depends on this file, so that a missing one is one clear sentence. In a container
# it is there, though make, outside, does not see it.
.venv/bin/python:
	@[[ -x $@ ]] || { echo "There is no environment yet. Set it up with: make init" >&2; exit 1; }
