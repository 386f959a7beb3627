"""Whether they may: RBAC, nodes, and the reviews that answer the question itself."""
