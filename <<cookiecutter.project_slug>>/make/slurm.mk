# Jobs of Slurm; ARGS are the options of the command: make slurm-launch ARGS="--session sessions/rates.yaml"

.PHONY: slurm-launch slurm-status slurm-log slurm-stop slurm-cancel

slurm-launch: .venv/bin/python ## Hand runs to Slurm (ARGS="--entry-point train --time 4h")
	@.venv/bin/slurm-launch $(ARGS)

slurm-status: .venv/bin/python ## Show where jobs and their runs stand (ARGS=ID: of one)
	@.venv/bin/slurm-status $(ARGS)

slurm-log: .venv/bin/python ## Print what jobs have printed (ARGS="ID --follow")
	@.venv/bin/slurm-log $(ARGS)

slurm-stop: .venv/bin/python ## Ask jobs for a checkpoint and an end (ARGS=ID)
	@.venv/bin/slurm-stop $(ARGS)

slurm-cancel: .venv/bin/python ## End jobs (ARGS=ID)
	@.venv/bin/slurm-cancel $(ARGS)
