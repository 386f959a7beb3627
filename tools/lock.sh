#!/bin/sh
# Rewrites both lock files from pyproject.toml (needs uv). `sh tools/lock.sh --upgrade` takes newer versions.
set -eu
cd "$(dirname "$0")/.."
common="--python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header -q"
uv pip compile pyproject.toml --group build $common "$@" -o requirements.lock
uv pip compile pyproject.toml --group dev $common "$@" -o requirements-dev.lock
