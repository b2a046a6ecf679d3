# One page of commands. `make demo` and `make test` install what they need.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: install demo test lint check bench beside-real clean help pytest-one-half pytest-other-half

help:
	@echo "make demo   install, run jones2020 on real MIT-BIH (else simulated ECGs) in under 3 minutes, print the report's path"
	@echo "make test   install, then ruff, mypy, import-linter and pytest (real-data tests need ECGLENS_DATA)"
	@echo "make beside-real  each simulated class drawn beside a real one, with distributions (needs MIT-BIH)"
	@echo "make bench  speed, as ratios of two things measured in one run (needs ECGLENS_DATA)"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	@$(BIN)/ecglens run jones2020 --recipe corrected --quick --or-simulated --overwrite --out $(DEMO)

lint: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two at once, one thread each: about half of the time on two cores. A folder that is not named here is in the other half.
ONE_HALF := tests/studies tests/analysis tests/report tests/training tests/recordings
test: lint
	@$(MAKE) --no-print-directory --keep-going --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) \
		pytest-one-half pytest-other-half

pytest-%: export OMP_NUM_THREADS = 1

pytest-one-half: install
	$(BIN)/pytest $(ONE_HALF)

pytest-other-half: install
	$(BIN)/pytest $(ONE_HALF:%=--ignore=%)

bench: install
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/robust.py

beside-real: install
	$(BIN)/python benchmarks/beside_real.py

clean:
	rm -rf $(VENV) runs build dist
