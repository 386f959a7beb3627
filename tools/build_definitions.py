"""Hatch build hook: compiles the OpenAPI definitions into the wheel (see `compile_definitions.py` beside it)."""
