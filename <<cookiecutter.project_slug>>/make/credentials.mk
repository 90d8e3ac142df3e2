# Credentials, encrypted in credentials.yaml; .envrc brings them into the environment.

.PHONY: credentials

credentials: .venv/bin/python ## Keep credentials encrypted (ARGS=doctor, ARGS="set AWS_SECRET_ACCESS_KEY", ARGS=edit)
	@.venv/bin/credentials $(ARGS)
