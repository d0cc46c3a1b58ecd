# risolve: everything that a clone needs starts here; `make help` lists the targets.

PYTHON ?= python3
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
# The index that torch is taken from; empty: pip's own. A CPU-only build is several GB smaller than the CUDA build.
TORCH_INDEX ?=
# Worker processes of the fast tests, each with one torch thread.
TEST_WORKERS ?= 2
# Tests of the core: the first to run after a change.
CORE := tests/physics tests/metrics tests/params tests/test_covariance.py tests/test_covariance_formulas.py
# Port of the Prefect server on 127.0.0.1.
PORT ?= 4200
# Folder under which the form of localize reads and writes; empty: `measurements` of the clone.
export MEASUREMENTS ?=
# Trials that are replayed.
TOP ?= 3

BIN := .venv/bin
INSTALLED := .venv/.installed
BENCHMARKS := $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py))

# The commands of dvc.yaml name `python`: the one of this environment.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120
export PREFECT_HOME := $(CURDIR)/state/prefect

.DEFAULT_GOAL := help
.PHONY: help install run demo report search dashboard replay check test test-slow lint serve docs bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Prefect does not make the parents of its home, and complains as soon as pytest loads its plugin.
# A target is no absolute path: where that has a space, make takes it for several.
state/prefect:
	mkdir -p $@

install: $(INSTALLED)  ## create .venv with the pinned packages (every other target does it when needed)

# torch first and exactly: a range resolved together with the rest may fetch another build.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH)
	sed 's/^torch==.*/torch==$(TORCH)/' constraints.txt > .venv/constraints.txt
	$(BIN)/pip install --quiet --constraint .venv/constraints.txt --editable '.[dev]'
# Stages and flows are of the clone and in no wheel.
	$(BIN)/python -c 'import os, pathlib, sysconfig as s; pathlib.Path(s.get_path("purelib"), "clone.pth").write_text(os.getcwd() + "\n")'
# DVC's own page of plots loads its scripts from the network.
	$(BIN)/python -m flows.plots_page > .venv/dvc-plots.html
	$(BIN)/dvc config --local plots.html_template ../.venv/dvc-plots.html
	@touch $@

run: $(INSTALLED)  ## reproduce the pipeline up to the report; does nothing when nothing changed
	$(BIN)/python -m flows.lockfile
	$(BIN)/dvc repro report
	$(BIN)/python -m stages.report --show

search: $(INSTALLED)  ## search hyperparameters (params.yaml: search; N=20 trials in all), show the best trial
	$(if $(N),$(BIN)/risolve set 'search.n_trials=$(N)')
	$(BIN)/python -m flows.lockfile
	$(BIN)/dvc repro search
	cat data/search/best.yaml

replay: $(INSTALLED) | state/prefect  ## reproduce the best trials of the search (TOP=3) as DVC experiments
	$(BIN)/python -m flows.replay $(TOP)

dashboard: PORT := 8080
dashboard: $(INSTALLED)  ## show the trials of the last search in the browser (PORT=8080)
	$(BIN)/python -m flows.dashboard --port $(PORT)

demo: $(INSTALLED)  ## locate the example that is shipped, print its places beside the truth, draw it
	$(BIN)/risolve demo

report: $(INSTALLED)  ## print the short table and the path of the last report
	$(BIN)/python -m stages.report --show

lint: $(INSTALLED)  ## the four checks: ruff check, ruff format, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint | state/prefect  ## the four checks and the tests of the core, in a minute
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(TEST_WORKERS) $(CORE)

test: lint | state/prefect  ## the four checks and the fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(TEST_WORKERS)

test-slow: $(INSTALLED) | state/prefect  ## the tests marked slow: statistics, training, whole pipelines, killed commands
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n $(TEST_WORKERS)

serve: $(INSTALLED)  ## serve the flows to the Prefect UI on 127.0.0.1 (PORT=4200, MEASUREMENTS=FOLDER for files to locate)
	$(BIN)/python -m flows.serve --port $(PORT) $(if $(MEASUREMENTS),--measurements "$$MEASUREMENTS")

docs: $(INSTALLED)  ## write the tables of README and docs from the committed results
	$(BIN)/python -m benchmarks._documents

bench: $(INSTALLED)  ## side-by-side speed and accuracy runs
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done
