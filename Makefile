# Two commands from a fresh clone: `make repro` (the main job) and `make test`.
# Both need only Python 3.11+ and make; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS := .venv-docs
# The oldest and the newest Python that the library is tried with, those of them that are here.
PYTHONS = $(foreach each,python3.11 python3.13,$(shell $(each) -c 'print("$(each)")' 2>/dev/null))

.PHONY: repro test tests test-long test-page lint types format bench wheel docs lock lock-docs clean

# The figures of the middle training-set size; all of them take half an hour: python -m paper_repro
repro: $(READY)
	$(BIN)/python -m paper_repro 1b 3b 4a 4b 11 estimators examination levels --sizes middle --scale laptop

# Types are checked beside the tests, in what is left of two cores.
test: lint
	$(MAKE) --jobs 2 types tests

tests: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long and not browser"

test-long: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/basedpyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m experiments bench

# Wheel and sdist in dist/, tried in fresh environments, with the oldest and the newest versions that pyproject allows.
wheel:
	$(PYTHON) tests/wheel/check.py --python $(or $(PYTHONS),$(PYTHON))

# The site in docs/_build/html, its notebooks run. It has an environment of its own.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python -m sphinx --fail-on-warning --keep-going --jobs 2 docs docs/_build/html

$(DOCS)/.ready: docs/requirements.lock requirements.lock pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --constraint requirements.lock --constraint docs/requirements.lock --editable '.[docs]'
	touch $@

# The report in a browser; needs chromium on the path (apt-get install chromium).
test-page: $(READY)
	$(BIN)/python -m pytest -m browser tests/test_page_in_browser.py

# The environment is rebuilt in place whenever the pinned versions or the project's metadata change.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[test]'
	touch $@

# Pin what is installed now, by name and version only.
lock:
	$(BIN)/python -m pip freeze --exclude-editable | grep '==' > requirements.lock

# What only the site needs is pinned beside it.
lock-docs:
	$(DOCS)/bin/python -m pip freeze --exclude-editable | grep '==' | grep -vixFf requirements.lock > docs/requirements.lock

clean:
	rm -rf .venv .venv-docs docs/_build docs/api dist runs
