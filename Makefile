# The two commands of the README, and what else a developer types. Every target sets up what it needs itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it
.PHONY: demo demo-stack clean-demo model

demo: ## run the whole path on real footage: video to queryable rows
	@infrastructure/local/demo.sh

demo-stack: ## the same with real servers (Pulsar, MinIO, a REST catalog, Trino) as plain processes
	@infrastructure/local/demo_stack.sh

clean-demo: ## remove what the demo made
	rm -rf data/demo

model: ## the official YOLOv8n (AGPL-3.0), for people with internet
	@infrastructure/local/fetch-model.sh

##@ Build
.PHONY: setup setup-tests build sbom dashboards

setup: ## what the demo needs: system packages, ONNX Runtime, the footage
	@infrastructure/local/setup.sh

setup-tests: ## the same and what the tests need: other engines that read our tables
	@infrastructure/local/setup.sh --tests

build: setup ## the optimised binaries, in target/release
	cargo build --release --locked --features rva/pulsar,rva-detector/pulsar,rva-ingest/pulsar

sbom: setup-tests ## what it is all made of, as CycloneDX JSON, in data/sbom.cdx.json
	@.venv/bin/python infrastructure/local/sbom.py data/sbom.cdx.json

dashboards: setup-tests ## write Grafana's dashboards anew, from infrastructure/grafana/dashboards.py
	@.venv/bin/python -B infrastructure/grafana/dashboards.py

##@ Test
.PHONY: test test-stack test-compose test-queries lint eval

test: ## every test, with the skips compared to the recorded list
	@infrastructure/local/test.sh

test-stack: setup-tests ## the tests that need the real servers, on a stack of their own
	@infrastructure/stack/test.sh

test-compose: ## docker-compose.yml for real: walls tried from inside, killed, cut off, down and up, each event once (needs a Docker engine)
	@infrastructure/compose/test.sh

test-queries: setup-tests ## the sample queries on a real Trino and Spark, DuckDB and rva query, row by row (fetches 1.5 GB)
	@infrastructure/queries/test.sh

lint: ## rustfmt, clippy, rustdoc, ruff, shellcheck, warnings as errors; Dockerfiles; the compose file
	@infrastructure/local/lint.sh

eval: ## every tracker's scores on MOTChallenge sequences, and the recorded floors
	@infrastructure/local/eval.sh

##@ Hard days
.PHONY: fuzz floods soak torture

fuzz: setup ## random bytes for all that reads foreign ones: an hour (FUZZ_SECONDS=3600 for each target, two at a time)
	@infrastructure/local/fuzz.sh

floods: setup-tests ## floods of messages into an ingest in 512 MiB: embedded log, and Pulsar on 1 and 3 partitions (FLOOD=TEXT: those alone)
	@infrastructure/local/floods.sh

soak: ## ten cameras in one process for half an hour, one killed and one stalled (SOAK_SECONDS=1800)
	@infrastructure/local/soak.sh

torture: setup-tests ## kill -9 the ingest a thousand times (KILLS=1000) and compare the keys; STACK=1: on the real servers; SERVERS=1: kill those too; REFINE=1: rva refine (SEEDS=1000: simulated)
	@infrastructure/local/torture.sh

##@ Measure
.PHONY: bench parity

bench: ## the measurement that NAME= names, or their list: detect, footfall, freshness, gpu, growth, ingest, latency, lookup, publish, refine, track
	@infrastructure/local/bench.sh $(NAME)

parity: setup ## our detections and speed beside Ultralytics' (installs it, AGPL-3.0, and PyTorch, 3 GB, into .venv-parity)
	@infrastructure/local/parity.sh

##@ Servers
.PHONY: env stack-up stack-down stack-status image-lock

env: ## write .env and .secrets with random passwords and tokens, for docker compose up (what is there stays)
	@infrastructure/compose/env.sh

stack-up: ## Pulsar, MinIO and an Iceberg REST catalog as plain processes (docs/stack.md)
	@infrastructure/stack/setup.sh
	@python3 infrastructure/stack/stack.py up

stack-down: ## stop them; data and logs stay in data/stack (PURGE=1 removes them)
	@python3 infrastructure/stack/stack.py down $(if $(PURGE),--purge)

stack-status: ## what of it runs and answers
	@python3 infrastructure/stack/stack.py status

image-lock: ## write the digest of each image beside its tag (needs a registry of images)
	@python3 infrastructure/compose/image_lock.py
