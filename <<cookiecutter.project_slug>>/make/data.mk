# Data, from a bucket to a batch; ARGS are the options of the command: make data-split ARGS="data/cells --test 0.2"

.PHONY: data-fetch data-split data-analyze data-verify data-push

data-fetch: .venv/bin/python ## Bring data here, verified (ARGS=cifar-10, or ARGS=s3://bucket/cells.zip)
	@.venv/bin/data-fetch $(ARGS)

data-split: .venv/bin/python ## Say who is for training, validation and testing (ARGS="data/cells --group-by patient")
	@.venv/bin/data-split $(ARGS)

data-analyze: .venv/bin/python ## Measure mean, deviation and range of images, and count classes (ARGS=data/cells)
	@.venv/bin/data-analyze $(ARGS)

data-verify: .venv/bin/python ## Tell whether data are those recorded (ARGS="data/cells --deep")
	@.venv/bin/data-verify $(ARGS)

data-push: .venv/bin/python ## Put a data set into the bucket (ARGS="data/cells s3://bucket/cells")
	@.venv/bin/data-push $(ARGS)
