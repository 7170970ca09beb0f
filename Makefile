PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8888
# two at a time suit two cores; 0 runs one test after another
PYTEST_WORKERS ?= 2
# JupyterLab refuses to run as root unless told to, as in a container
override LAB_OPTIONS += $(if $(filter 0,$(shell id -u)),--allow-root)
export CIFAR10_ROOT ?= $(CURDIR)/data
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: lab app test docs setup check coverage clean

lab: setup
	cd notebooks && ../$(BIN)/jupyter lab $(LAB_OPTIONS) --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) explore_errors.ipynb

app: setup
	cd notebooks && ../$(BIN)/voila --Voila.ip=127.0.0.1 --port=$(PORT) --Voila.auto_token=True app.ipynb

test: setup
	$(BIN)/python -m tests.browser.install
	$(MAKE) check
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

# what the unit tests run, line by line; measuring takes half as long again as the tests themselves
coverage: setup
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --cov --cov-report= tests/unit tests/property
	$(BIN)/python -m coverage report --fail-under=94

docs: setup
	$(BIN)/python docs/build.py build/site

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pre-commit validate-config

clean:
	rm -rf $(VENV) build *.egg-info
