# make demo: train, judge, encode and decode on the samples. make test: the tests. Both make .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
WORKERS ?= 2
BUDGET ?= 600
BENCHES ?= train_step dac_step codec_speed quantizer quantizer_binary range_coder prior streaming folder memory

.PHONY: demo test test-all fuzz lint bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	if command -v uv > /dev/null; \
	then uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else $(BIN)/pip install --progress-bar off -c constraints.txt -e '.[dev]'; fi
	touch $(READY)

demo: $(READY)
	$(BIN)/python -m neuralcodecs.demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# one thread per process: the two cores are shared by the workers
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu"

test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# damaged files for BUDGET seconds, from a new seed each time: docs/fuzzing.md
fuzz: $(READY)
	OMP_NUM_THREADS=1 PYTHONPATH=codecs:tests $(BIN)/python tests/fuzz/long_fuzz.py --seconds $(BUDGET)

# speed beside the published implementations, as large as the device allows; a missing package costs its rows only
bench: $(READY)
	for name in $(BENCHES); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || true; done

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
