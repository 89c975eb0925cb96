# Python 3.11, pip and make are all that has to be there. PYTHON names another 3.11 than the first on PATH.
PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PYTHON_FILES := functions layers spark cli local lab tests bench

.DEFAULT_GOAL := help
.PHONY: help setup demo local lab test check lint types unit tests converge bench-merge deploy lock clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Make the environments and fetch the jars; silent when there is nothing to do
	@$(or $(PYTHON),python3) local/setup.py

demo: setup ## See it work: real flights go in, checked Delta tables come out
	@$(BIN)/python -m tidegate_cli.demo

local: setup ## Start the local cloud, stay up, and say how to put a file
	@$(BIN)/tidegate local up

test: setup ## Everything that CI runs
	@$(MAKE) --no-print-directory --jobs=2 lint types
	@$(MAKE) --no-print-directory tests

check: setup ## Format, lint, types and the pure tests: seconds, before each commit
	@$(MAKE) --no-print-directory --jobs=2 lint types unit

lint:
	$(BIN)/ruff format --check --quiet $(PYTHON_FILES)
	$(BIN)/ruff check --quiet $(PYTHON_FILES)
	$(BIN)/lint-imports --no-cache > .tidegate/lint-imports.log || (cat .tidegate/lint-imports.log; exit 1)
	$(BIN)/cfn-lint template.yaml
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam validate --lint > .tidegate/sam-validate.log 2>&1 || (cat .tidegate/sam-validate.log; exit 1)

types:
	$(BIN)/mypy

unit:
	$(BIN)/pytest -q tests/unit tests/template

tests:
	$(BIN)/pytest -q --durations=15 --basetemp=.tidegate/pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder
	@rm -rf .tidegate/pytest

converge: setup ## Try the strategies on generated histories: SEED=7 KEYS=50000 STRATEGY=cdc
	CONVERGENCE_SEED=$(or $(SEED),1) CONVERGENCE_KEYS=$(or $(KEYS),20000) \
		$(BIN)/pytest -q tests/spark/test_spark_convergence.py $(if $(STRATEGY),-k "$(STRATEGY)")

bench-merge: setup ## Merges against plain Delta, Iceberg, Hudi and delta-rs: hours; ARGS="--rows 1000000 --merges 3" is a short one
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirements locks/bench.txt
	@$(BIN)/python bench/merge.py $(ARGS)

lab: setup ## Replay all traces under all policies; ARGS="--docs docs" brings docs/lab.md up to date, "--repeats 20" is surer
	@$(BIN)/python -m tidegate_lab $(ARGS)

deploy: setup ## Build and deploy to the AWS account of your credentials
	.venv-sam/bin/sam build
	.venv-sam/bin/sam deploy --guided

lock: setup ## Resolve the dependencies in pyproject.toml anew into locks/
	$(eval COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --generate-hashes --python-version 3.11)
	$(COMPILE) pyproject.toml --group dev --output-file locks/dev.txt
	$(COMPILE) --group lambda --output-file locks/lambda.txt
	$(COMPILE) --group sam --output-file locks/sam.txt
	$(COMPILE) --group cluster --no-emit-package pyspark --no-emit-package py4j --output-file locks/cluster.txt
	$(COMPILE) --group bench --constraint locks/dev.txt --output-file locks/bench.txt

clean: ## Stop the local cloud and remove everything that is made
	-@[ -x $(BIN)/tidegate ] && $(BIN)/tidegate local down
	rm -rf .venv .venv-sam .tidegate .aws-sam
