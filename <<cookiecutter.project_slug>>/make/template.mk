# The template this project was made from: .labkit.json says which, and with which answers.

# Where the newer template is, a folder or an address; by default, where the last one came from.
TEMPLATE ?=

export TEMPLATE

.PHONY: template-update

template-update: ## Merge what the template has gained since (TEMPLATE=../labkit)
	@python=$$(make/python.sh) && "$$python" make/environment.py tools
	@.tools/bin/python make/template.py
