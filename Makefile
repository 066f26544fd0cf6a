# Two commands do everything: `make demo` and `make test`. Both set up what is missing first, and are quick the second time.

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup

.PHONY: demo test setup check vectors bench lock clean

demo: setup            ## bring up the examples, show what a cluster gives them, tear down
	@$(PY) examples/demo.py

test: setup            ## run the tests
	@tools/test-packages
	@$(VENV)/bin/pytest $(TESTS)

setup:                 ## Python packages into .venv; container runtime and nftables from the distribution
	@tools/setup

check: setup           ## lint, types, import rules
	@$(VENV)/bin/ruff format --check src tests bench tools examples
	@$(VENV)/bin/ruff check src tests bench tools examples
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

vectors: setup         ## replay recorded behaviour of real servers, print the scoreboard
	@$(PY) -m tests.vectors.scoreboard

bench: setup           ## measure; results as JSON and charts below bench/results
	@$(PY) -m bench

lock:                  ## resolve dependencies anew
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url -q -o requirements.lock

clean:
	rm -rf $(VENV) build dist
