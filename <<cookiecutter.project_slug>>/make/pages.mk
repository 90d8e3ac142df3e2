# What came of the runs; ARGS are the options of the command: make compare-runs ARGS="test/accuracy"

.PHONY: dashboard report compare-runs

dashboard: .venv/bin/python ## Look at the runs, also while they train (ARGS="--port 8050")
	@.venv/bin/dashboard $(ARGS)

report: .venv/bin/python ## Write the runs into one HTML file (ARGS="results.html --session NAME")
	@.venv/bin/report $(ARGS)

compare-runs: .venv/bin/python ## Compare configurations over seeds (ARGS="test/accuracy --session NAME")
	@.venv/bin/compare-runs $(ARGS)
