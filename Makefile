# `make app` and `make test` set everything up by themselves; a second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
# Waiting OpenMP threads that spin would starve the tests' browser and server (see snapvit/environment.py).
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: app test lint format bench reliability screenshots bundled-run notebooks docs wheel-check clean

app: $(VENV)/.app
	$(BIN)/python -m snapvit app --port $(PORT)

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

# oxlint (.oxlintrc.json) is one program without node or npm, so it comes from the registry of everything else.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings snapvit tests

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Tries to break the explorer for about two hours; CAMPAIGN=hostile, say, picks one.
reliability: $(VENV)/.dev
	$(BIN)/python -m reliability $(CAMPAIGN)

screenshots: $(VENV)/.dev
	$(BIN)/python -m scripts.screenshots

# Computes what is missing of the shipped run; delete its folder in cache/ first to make all of it again.
bundled-run: $(VENV)/.app
	$(BIN)/python -m scripts.bundled_run

# Executes docs/*.ipynb and keeps what they show.
notebooks: $(VENV)/.dev
	$(BIN)/python -m scripts.notebooks

# The reference, from the docstrings, into docs/reference.
docs: $(VENV)/.dev
	$(BIN)/python -m scripts.reference

# A wheel in an empty environment, used from elsewhere; this takes what torch is to download and install.
wheel-check: $(VENV)/.dev
	$(BIN)/python -m scripts.wheel_check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# A stamp holds the digest of the requirements it was installed from, so that a fresh checkout's file times
# never cause a second installation.
APP := requirements.txt requirements-library.txt requirements-notebook.txt requirements-app.txt
DEV := $(APP) requirements-export.txt requirements-dev.txt

$(VENV)/.app: $(APP) | $(VENV)/bin/python
	@sum=$$(cat $(APP) | cksum); \
	if [ "$$sum" != "$$(cat $@ 2>/dev/null)" ]; then \
		$(BIN)/python -m pip install --quiet -r requirements.txt && echo "$$sum" > $@; \
	else touch $@; fi

$(VENV)/.dev: $(DEV) | $(VENV)/bin/python
	@sum=$$(cat $(DEV) | cksum); \
	if [ "$$sum" != "$$(cat $@ 2>/dev/null)" ]; then \
		$(BIN)/python -m pip install --quiet -r requirements-dev.txt && echo "$$sum" > $@; \
	else touch $@; fi

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
