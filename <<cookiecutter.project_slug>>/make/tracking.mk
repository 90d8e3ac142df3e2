# A tracking server of one's own, on this machine.

# The port it listens on, for this machine only, and the folder that keeps its database and artifacts.
TRACKING_PORT ?= 5000
TRACKING_PATH ?= tracking
# Where artifacts go instead: s3://bucket/folder. The server reaches it with S3_ENDPOINT_URL, S3_VERIFY and AWS_*.
TRACKING_ARTIFACTS ?=

export TRACKING_PORT TRACKING_PATH TRACKING_ARTIFACTS

.PHONY: tracking-server

tracking-server: ## Run a tracking server (TRACKING_PORT=5000 TRACKING_ARTIFACTS=s3://bucket/folder)
	@python=$$(make/python.sh) && exec "$$python" make/tracking_server.py
