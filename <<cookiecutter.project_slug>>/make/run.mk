# Runs and sessions; ARGS are the options of the command: make local-launch ARGS="4f0c12"

.PHONY: local-launch reproduce-run sync-runs

local-launch: .venv/bin/python ## Execute runs from their own code (ARGS=ID, or ARGS="--session sessions/FILE")
	@.venv/bin/local-launch $(ARGS)

reproduce-run: .venv/bin/python ## Do a finished run again and compare (ARGS=ID)
	@.venv/bin/reproduce-run $(ARGS)

sync-runs: .venv/bin/python ## Send what has not reached the tracking store (ARGS=ID: of one run)
	@.venv/bin/sync-runs $(ARGS)
