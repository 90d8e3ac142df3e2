# Images: what runs execute in (docker/training.Dockerfile), and what the project is developed in.

# The engine: docker, podman or buildah; by default the first of them that answers.
ENGINE ?=
# What the images are built on: any image with pip for the project's version of Python (for development, venv, git and make too).
BASE_IMAGE ?=
# The kind of machine that it is for, where it is not this one: linux/amd64 or linux/arm64.
PLATFORM ?=
# 1: push the training image to the registry that DOCKER_URL names.
PUSH ?=
# Further options of the engine, as it takes them when it builds, and when it runs (USE_DOCKER).
IMAGE_OPTIONS ?=
CONTAINER_OPTIONS ?=
# 1: run every target in the development image, on this project: make test USE_DOCKER=1
USE_DOCKER ?=

export ENGINE BASE_IMAGE PLATFORM PUSH IMAGE_OPTIONS CONTAINER_OPTIONS

ifneq ($(USE_DOCKER),)
SHELL := make/container.sh
endif

.PHONY: training-image development-image

training-image development-image: SHELL := bash

training-image: ## Build the image that runs execute in (TORCH=cpu PLATFORM=linux/arm64 PUSH=1)
	@python=$$(make/python.sh) && "$$python" make/image.py training

development-image: ## Build the image in which USE_DOCKER=1 runs every target
	@python=$$(make/python.sh) && "$$python" make/image.py development
