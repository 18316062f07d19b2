SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup demo test check compile bench lock images clean

export VENV ?= .venv
BIN := $(VENV)/bin
# TensorFlow's remarks on CPU features and missing GPUs.
export TF_CPP_MIN_LOG_LEVEL ?= 2

help: ## Say what can be made.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## Make .venv from the lock (PYTHON=, TRAIN= and VENV= override the choice).
	@requirements/setup.sh

demo: setup ## Train, evaluate, bless and push a model on real flights, and ask it for predictions.
	@$(BIN)/penstock run penstock.pipelines.flights
	@TF_CPP_MIN_LOG_LEVEL=3 PYTHONWARNINGS=ignore $(BIN)/python -m penstock.pipelines.flights.predict
	@echo "Look next: why it was blessed: $$(ls -t penstock-runs/flights/*/evaluator/blessing/blessing.html | head -n 1)"
	@echo "           how it is made:     pipelines/flights/  (docs/authoring.md, docs/formats.md)"

test: setup ## Run the tests (ARGS= for pytest).
	@$(BIN)/pytest --quiet --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: setup .make/mypy/penstock ## Lint, check the format, the types and the import rules.
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@cd .make/mypy && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml \
	    --cache-dir ../../.mypy_cache --package penstock | sed 's|^penstock/||'
	@$(BIN)/pytest --quiet tests/house/test_imports.py

# The repository root is the package, so mypy finds it through a link of that name, and runs beside
# the link: at the root it would take our __main__.py for the one that libraries import.
.make/mypy/penstock:
	@mkdir -p $(@D)
	@ln -sfn ../.. $@

compile: setup ## Compile every shipped pipeline to build/<name>.yaml.
	@mkdir -p build
	@for file in pipelines/*/pipeline.py; do \
	    name=$$(basename "$$(dirname "$$file")"); \
	    $(BIN)/penstock compile "penstock.pipelines.$$name" -o "build/$$name.yaml"; \
	done

bench: setup ## Time every step, and the data rooms beside their peers; write benchmarks/README.md.
	@$(BIN)/python benchmarks/steps.py
	@$(BIN)/python benchmarks/data.py

lock: setup ## Resolve the dependencies of both trains anew and write requirements/*.txt.
	@UV="$(abspath $(BIN)/uv)" requirements/lock.sh

images: ## Build the images of components, control and registry (BUILDER=, BASE=, GPU=1; docs/images.md).
	@images/build.sh

clean: ## Remove everything made here: .venv, build/, caches; your runs stay.
	@rm -rf $(VENV) build dist .make .mypy_cache .ruff_cache .pytest_cache .hypothesis penstock.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
