# The two commands of the README, and what else a developer types. Every target sets up what it needs itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CARGO_TERM_COLOR ?= auto

.PHONY: help env demo demo-stack test fuzz floods sbom eval setup setup-tests build lint bench-detect bench-footfall bench-gpu bench-growth bench-ingest bench-latency bench-lookup bench-publish bench-track test-queries parity soak torture model clean-demo stack-up stack-down stack-status test-stack test-compose image-lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: ## run the whole path on real footage: video to queryable rows
	@infrastructure/local/demo.sh

demo-stack: ## the same with real servers (Pulsar, MinIO, a REST catalog, Trino) as plain processes
	@infrastructure/local/demo_stack.sh

test: ## every test, with the skips compared to the recorded list
	@infrastructure/local/test.sh

setup: ## what the demo needs: system packages, ONNX Runtime, the footage
	@infrastructure/local/setup.sh

setup-tests: ## the same and what the tests need: other engines that read our tables
	@infrastructure/local/setup.sh --tests

build: setup ## the optimised binaries, in target/release
	cargo build --release --locked
	cargo build --release --locked -p rva-ingest --features pulsar

lint: ## rustfmt, clippy, rustdoc, ruff, shellcheck, warnings as errors; Dockerfiles; the compose file
	@infrastructure/local/lint.sh

bench-detect: setup ## frames a second and memory of the pipeline beside bare ONNX Runtime, in turns, in one run
	@infrastructure/local/bench_detect.sh

bench-gpu: setup ## streams of 1080p30 that one device carries (DEVICE=cuda:0 MODEL=yolov8n-fp16.onnx)
	@infrastructure/local/bench_gpu.sh

bench-growth: setup ## time of a commit, start, metadata and queries after many commits (COMMITS=10000)
	@infrastructure/local/bench_growth.sh

bench-ingest: setup-tests ## a million messages of a Pulsar topic into Iceberg on MinIO, in turns with Flink (MESSAGES=1000000 TURNS=5)
	@infrastructure/local/bench_ingest.sh

bench-latency: setup-tests ## seconds from sending to queryable, and a load that lasts (LOAD_RATE=10000 LOAD_SECONDS=600)
	@infrastructure/local/bench_ingest.sh latency

bench-lookup: setup ## from a restart to the first commit, and lookups of known events, in a table of many small files (STORES=2000 CAMERAS=20000)
	@infrastructure/local/bench_lookup.sh

bench-track: ## time a frame of our trackers beside those of Roboflow's `trackers` (Apache-2.0; installs it into .venv-bench)
	@infrastructure/local/bench_track.sh

bench-footfall: setup ## people counted at lines beside PyPI `supervision` on Roboflow's `trackers` (installs them into .venv-bench)
	@infrastructure/local/bench_footfall.sh

bench-publish: setup ## frames a second of the detector with Pulsar on beside /dev/null
	@infrastructure/local/bench_publish.sh

parity: setup ## our detections and speed beside Ultralytics' (installs it, AGPL-3.0, and PyTorch, 3 GB, into .venv-parity)
	@infrastructure/local/parity.sh

fuzz: setup ## random bytes for all that reads foreign ones: an hour (FUZZ_SECONDS=3600 for each target, two at a time)
	@infrastructure/local/fuzz.sh

floods: setup-tests ## floods of messages into an ingest in 512 MiB: embedded log, and Pulsar on 1 and 3 partitions (FLOOD=TEXT: those alone)
	@infrastructure/local/floods.sh

sbom: setup-tests ## what it is all made of, as CycloneDX JSON, in data/sbom.cdx.json
	@.venv/bin/python infrastructure/local/sbom.py data/sbom.cdx.json

eval: ## every tracker's scores on MOTChallenge sequences, and the recorded floors
	@infrastructure/local/eval.sh

soak: ## ten cameras in one process for half an hour, one killed and one stalled (SOAK_SECONDS=1800)
	@infrastructure/local/soak.sh

torture: setup-tests ## kill -9 the ingest a thousand times (KILLS=1000) and compare the keys; STACK=1: on the real servers; SERVERS=1: kill those too; REFINE=1: rva refine (SEEDS=1000: simulated)
	@infrastructure/local/torture.sh

stack-up: ## Pulsar, MinIO and an Iceberg REST catalog as plain processes (docs/stack.md)
	@infrastructure/stack/setup.sh
	@python3 infrastructure/stack/stack.py up

stack-down: ## stop them; data and logs stay in data/stack (PURGE=1 removes them)
	@python3 infrastructure/stack/stack.py down $(if $(PURGE),--purge)

stack-status: ## what of it runs and answers
	@python3 infrastructure/stack/stack.py status

test-stack: setup-tests ## the tests that need the real servers, on a stack of their own
	@infrastructure/stack/test.sh

env: ## write .env and .secrets with random passwords and tokens, for docker compose up (what is there stays)
	@infrastructure/compose/env.sh

test-compose: ## docker-compose.yml for real: walls tried from inside, killed, cut off, down and up, each event once (needs a Docker engine)
	@infrastructure/compose/test.sh

image-lock: ## write the digest of each image beside its tag (needs a registry of images)
	@python3 infrastructure/compose/image_lock.py

test-queries: setup-tests ## the sample queries on a real Trino and Spark, DuckDB and rva query, row by row (fetches 1.5 GB)
	@infrastructure/queries/test.sh

model: ## the official YOLOv8n (AGPL-3.0), for people with internet
	@infrastructure/local/fetch-model.sh

clean-demo: ## remove what the demo made
	rm -rf data/demo
