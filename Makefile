# What a person types here; `make` alone tells. ARGS goes to the program behind a target.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
VENDOR := src/adamas/web/static/vendor
# Most tests wait for something: four at a time, each file's in one process and in order. PARALLEL= runs one after the other.
PARALLEL ?= -n 4 --dist loadfile
MISSING := not every package could be installed: tests that need one are skipped, or fail, by name

# Debian's own interpreter where it can make an environment, else the first on the path.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)

# Directories are in the list for the sake of files that were deleted.
SOURCES := $(shell find src -name __pycache__ -prune -o -path $(VENDOR) -prune -o -print)

.PHONY: help run test lint bench soak docs lock clean
.DELETE_ON_ERROR:

help: ## Tell what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.package ## Install what it needs into .venv and start the agent; it prints the page's address (ARGS="-c my.toml")
	@exec $(BIN)/adamas run $(ARGS)

test: $(VENV)/.package $(VENV)/.test $(VENV)/.node lint ## Lint, then every test but the long ones (ARGS="tests/test_cases.py -k loadavg")
	@sh tests/packages.sh tests/packages.txt || echo "$(MISSING)"
	$(BIN)/pytest -m "not soak" $(PARALLEL) $(ARGS)

lint: $(VENV)/.test ## Style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.package ## Measure the agent beside the peers that are installed here: collectd, netdata, node_exporter
	$(BIN)/python bench/compare.py --adamas $(BIN)/adamas $(ARGS)

soak: $(VENV)/.package $(VENV)/.test $(VENV)/.node ## The tests that take minutes: faults, long outages
	@sh tests/packages.sh tests/packages.txt tests/soak/packages.txt || echo "$(MISSING)"
	$(BIN)/pytest -m soak $(ARGS)

docs: $(VENV)/.package ## Write docs/ anew from what the code declares
	$(BIN)/python docs/generate.py

lock: ## Renew requirements/*.txt (needs uv)
	uv pip compile --quiet --upgrade --python-version 3.11 --python-platform linux --generate-hashes --no-header \
		--extra diamond pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile --quiet --upgrade --python-version 3.11 --python-platform x86_64-manylinux_2_36 --generate-hashes --no-header \
		--all-extras pyproject.toml requirements/test.in -o requirements/test.txt

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) node_modules $(VENDOR) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later with venv is needed; on Debian: apt-get install python3 python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: requirements/run.txt | $(VENV)/.python
	$(PIP) install --require-hashes -r requirements/run.txt
	@touch $@

$(VENV)/.test: requirements/test.txt | $(VENV)/.python
	$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

# The charts of the page: uPlot, as its lock says, copied out of the package.
$(VENDOR)/uPlot.iife.min.js: package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed; on Debian: apt-get install npm"; exit 1; }
	npm ci --omit=dev --ignore-scripts --no-audit --no-fund
	npm run --silent vendor
	@touch $@

# Servers that tests talk to and that come from there: statsd.
$(VENV)/.node: package-lock.json $(VENDOR)/uPlot.iife.min.js
	npm ci --omit=optional --ignore-scripts --no-audit --no-fund
	@touch $@

$(VENV)/.package: $(VENV)/.run $(VENDOR)/uPlot.iife.min.js pyproject.toml README.md LICENSE $(SOURCES)
	$(PIP) install --no-build-isolation --no-deps --force-reinstall .
	@touch $@
