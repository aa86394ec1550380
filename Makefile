# The commands of this project. Needs Python 3.11+, Java 17 or 21, git and make; everything else goes into .venv.

# The lock is made for 3.11, so a 3.11 on PATH is the safest choice.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv/.installed-bench
FUZZ_STAMP := .venv/.installed-fuzz
EXTRAS := airflow,complete_journey,openlineage,test,dev
PIP_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt
# Stops the recipe, with one line, where Spark would have no Java to run on.
WITH_JAVA := JAVA_HOME="$$($(BIN)/python -m etl.java --fetch)" && export JAVA_HOME PATH="$(CURDIR)/$(BIN):$$PATH" &&

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-airflow test-scheduler test-faults test-cluster lint format bench bench-interactions \
  bench-train bench-score bench-movielens fuzz lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the locked dependencies
demo: $(STAMP) ## run the whole job on a scratch lake; ARGS="--source complete-journey"
	@$(WITH_JAVA) $(BIN)/prerank demo $(ARGS)

# Two workers of one Spark session each, a file in one of them, the longest first (see tests/conftest.py). Of each
# worker's torch one thread: several spin while they wait for each other, on the core that the other worker needs.
test: $(STAMP) ## run the tests but a day in Airflow and clusters; ARGS="-m 'not slow'"
	@$(WITH_JAVA) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not (slow and (airflow or faults or cluster))' $(ARGS)

test-airflow: $(STAMP) ## run every DAG in real Airflow and spark-submit; ARGS="-k given_a_day" for the short form
	@$(WITH_JAVA) $(BIN)/python -m pytest -m 'airflow and slow and not scheduler' $(ARGS)

test-scheduler: $(STAMP) ## two days by Airflow's scheduler, five backfilled; ARGS="-k recorded" for the short form
	@$(WITH_JAVA) $(BIN)/python -m pytest -m 'scheduler and slow' $(ARGS)

# Exports and trainings are killed KILLS times each, every verb a quarter of that.
test-faults: $(STAMP) ## kill every verb again and again, race jobs, break disks, files, clocks; KILLS=1 for the short form
	@$(WITH_JAVA) PRERANK_KILLS=$(or $(KILLS),16) $(BIN)/python -m pytest -m 'faults and slow' $(ARGS)

test-cluster: $(STAMP) ## run on clusters, from a package, on an S3; ARGS="-k killed" for the short form
	@$(WITH_JAVA) $(BIN)/python -m pytest -m 'cluster and slow' $(ARGS)

lint: $(STAMP) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## sort imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_STAMP) ## install the bench extra and run tests/benchmarks
	@$(WITH_JAVA) $(BIN)/python -m pytest tests/benchmarks -s -o python_files="bench_*.py test_*.py" $(ARGS)

bench-interactions: $(BENCH_STAMP) ## a day's refresh against DuckDB, Polars and Spark; EVENTS=30000000 ARGS="-k refresh"
	@$(WITH_JAVA) PRERANK_BENCH_EVENTS=$(EVENTS) $(BIN)/python -m pytest -q -s -o python_files="bench_*.py" \
	  tests/benchmarks/bench_interactions.py $(ARGS)

bench-train: $(STAMP) ## layouts, loading, training against peers; REQUESTS=800 EVENTS=30000
	@$(WITH_JAVA) OMP_WAIT_POLICY=PASSIVE PRERANK_BENCH_REQUESTS=$(REQUESTS) PRERANK_LAYOUT_EVENTS=$(EVENTS) \
	  $(BIN)/python -m pytest -q -s -o python_files="bench_*.py" \
	  tests/benchmarks/bench_train.py tests/benchmarks/bench_layout.py $(ARGS)

bench-score: $(STAMP) ## bulk scoring against in-memory arrays and predict_batch_udf; PAIRS=1000000 ITEMS=10000 GROWTH=100
	@$(WITH_JAVA) PRERANK_SCORE_PAIRS=$(PAIRS) PRERANK_SCORE_ITEMS=$(ITEMS) PRERANK_SCORE_GROWTH=$(GROWTH) \
	  $(BIN)/python -m pytest -q -s -o python_files="bench_*.py" tests/benchmarks/bench_score.py $(ARGS)

bench-movielens: $(STAMP) ## every model on MovieLens over seeds; ML=path MODELS=two_tower,fit SEEDS=2
	@OMP_WAIT_POLICY=PASSIVE PRERANK_ML=$(ML) PRERANK_ML_MODELS=$(MODELS) PRERANK_ML_SEEDS=$(SEEDS) \
	  PRERANK_ML_PROTOCOL=$(PROTOCOL) $(BIN)/python -m pytest -q -s -o python_files="bench_*.py" \
	  tests/benchmarks/bench_movielens.py $(ARGS)

fuzz: $(FUZZ_STAMP) ## random input: text readers for SECONDS=60 by coverage, then FILES=20 of each raw source
	$(BIN)/python -m tests.fuzz.fuzz_text -max_total_time=$(or $(SECONDS),60) -dict=tests/fuzz/dictionary.txt
	@$(WITH_JAVA) PRERANK_FUZZ=$(or $(FILES),20) $(BIN)/python -m pytest -q tests/etl/sources/test_hostile_files.py $(ARGS)

lock: $(STAMP) ## write constraints.txt anew from setup.cfg
	$(BIN)/uv pip compile --quiet --upgrade --all-extras setup.cfg --python-version 3.11 --no-annotate --no-header \
	  -o constraints.txt

clean: ## remove what the tools leave behind, .venv included
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  spark-warehouse metastore_db derby.log
	find dags etl models scoring tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("prerank needs Python 3.11 or newer, this is " \
	  + sys.version.split()[0] + ". Install one, or name it: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the locked dependencies into .venv (several GB the first time)"
	@$(PIP_INSTALL) -e '.[$(EXTRAS)]'
	@rm -f $(BENCH_STAMP) $(FUZZ_STAMP)
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@$(PIP_INSTALL) -e '.[$(EXTRAS),bench]'
	@touch $@

$(FUZZ_STAMP): $(STAMP)
	@$(PIP_INSTALL) -e '.[$(EXTRAS),fuzz]'
	@touch $@
