# From simple to complex; ARGS are the options of the command: make recipe ARGS="--step overfit"

.PHONY: recipe

recipe: .venv/bin/python ## Go through the recipe, each step checked (ARGS=--list: where it stands)
	@.venv/bin/recipe $(ARGS)
