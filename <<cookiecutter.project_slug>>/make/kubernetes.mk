# Runs on a cluster of Kubernetes; ARGS are the options of the command: make kubernetes-launch ARGS="--entry-point train"

.PHONY: kubernetes-launch kubernetes-status kubernetes-log kubernetes-stop

kubernetes-launch: .venv/bin/python ## Hand runs to Kubernetes (ARGS="--session sessions/learning-rate.yaml --parallel 4")
	@.venv/bin/kubernetes-launch $(ARGS)

kubernetes-status: .venv/bin/python ## Show where Jobs of Kubernetes and their runs stand (ARGS=ID: of one)
	@.venv/bin/kubernetes-status $(ARGS)

kubernetes-log: .venv/bin/python ## Print what the pods of a run have printed (ARGS="ID --follow")
	@.venv/bin/kubernetes-log $(ARGS)

kubernetes-stop: .venv/bin/python ## Ask Jobs of Kubernetes for a checkpoint and an end (ARGS=ID)
	@.venv/bin/kubernetes-stop $(ARGS)
