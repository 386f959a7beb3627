"""What each kind says about its objects: one file per API group, each a table of its kinds with their `base.Rules`.

Only the API server loads this (through `kinds.builtin`): a node has no memory to spare for it.
"""
