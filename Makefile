# The commands of this project. `make demo` and `make test` need nothing but Debian (or Fedora), root and this checkout.

PYTEST = .venv/bin/python -m pytest

.PHONY: demo demo-down test test-unit test-privileged lint format bench nightly setup man lock clean

demo: ## Start a cluster with the sample application on it and say where it is
	@sh tools/setup.sh --system
	@.venv/bin/python tools/demo.py

demo-down: ## Stop that cluster and delete it
	@./pinnace down --purge

setup: ## Environment and system packages for development
	@sh tools/setup.sh --dev --system

# Tests of the engine enter a mount namespace of their own; whole clusters belong to the machine's: two processes.
test: setup ## All tests: first those without privileges, then those with real containers and clusters
	$(PYTEST) -q -n 2 --dist loadfile -m "not privileged and not cluster and not nightly"
	$(PYTEST) -q -m "privileged and not cluster and not nightly" --ignore tests/cluster
	$(PYTEST) -q -m "not nightly" tests/cluster

test-unit: setup
	$(PYTEST) -q -n 2 --dist loadfile -m "not privileged and not cluster and not nightly"

test-privileged: setup
	$(PYTEST) -q -m "privileged and not cluster and not nightly" --ignore tests/cluster
	$(PYTEST) -q -m "not nightly" tests/cluster

nightly: setup ## Long campaigns: faults, fuzzing, load
	$(PYTEST) -q -m nightly --timeout 7200

lint: setup ## Format, lint, types, import contracts, dead code; changes nothing
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python tools/dead_code.py

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: setup ## The rows of docs/performance.md, measured on this machine
	.venv/bin/python tools/bench

man: setup ## Write packaging/pinnace.1 from the commands
	.venv/bin/python tools/man_page.py > packaging/pinnace.1

lock: ## Rewrite the lock files from pyproject.toml
	sh tools/lock.sh

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
