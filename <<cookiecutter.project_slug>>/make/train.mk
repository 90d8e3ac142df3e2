# The study's entry points; ARGS are their options: make train ARGS="--learning-rate 0.01"

.PHONY: prepare train evaluate

prepare: .venv/bin/python ## Prepare the data (ARGS="--fold-by writer --push s3://bucket/digits")
	@.venv/bin/prepare $(ARGS)

train: .venv/bin/python ## Train (ARGS=--help: all options)
	@.venv/bin/train $(ARGS)

evaluate: .venv/bin/python ## Test the newest run (ARGS="--run-id ID": another)
	@.venv/bin/evaluate $(ARGS)
