# What came of the runs; ARGS are the options of the command: make compare-runs ARGS="test/accuracy"

.PHONY: compare-runs

compare-runs: .venv/bin/python ## Compare configurations over seeds (ARGS="test/accuracy --session NAME")
	@.venv/bin/compare-runs $(ARGS)
