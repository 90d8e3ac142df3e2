# Runs on a machine without a scheduler; ARGS are the options of the command: make apptainer-launch ARGS="--entry-point train"

.PHONY: apptainer-launch apptainer-status apptainer-log apptainer-stop apptainer-shell

apptainer-launch: .venv/bin/python ## Start runs on a machine without a scheduler (ARGS="--entry-point train --gpus 1")
	@.venv/bin/apptainer-launch $(ARGS)

apptainer-status: .venv/bin/python ## Show where these runs stand (ARGS=ID: of one)
	@.venv/bin/apptainer-status $(ARGS)

apptainer-log: .venv/bin/python ## Print what these runs have printed (ARGS=ID)
	@.venv/bin/apptainer-log $(ARGS)

apptainer-stop: .venv/bin/python ## Ask these runs for a checkpoint and an end (ARGS=ID)
	@.venv/bin/apptainer-stop $(ARGS)

apptainer-shell: .venv/bin/python ## Open a shell in the container on that machine
	@.venv/bin/apptainer-shell $(ARGS)
