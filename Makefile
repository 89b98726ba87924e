# make demo: the whole study on the embedded digits, minutes; make test: all tests; make docs: the site, in build/docs.
# Each sets itself up.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check docs bench clean

demo: $(INSTALLED)
	$(BIN)/python -m lit_privq study --config configs/study/digits.yaml --output runs/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto

check: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -E -W --keep-going -n --quiet docs build/docs
	@echo build/docs/index.html

bench: $(INSTALLED)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv runs build .mypy_cache .ruff_cache .pytest_cache

.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lit_privq needs Python 3.11 or later: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv .venv

# Again whenever a dependency or a pin changes.
$(INSTALLED): pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@
