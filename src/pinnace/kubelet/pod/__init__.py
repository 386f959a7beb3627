"""One pod on this node: what is observed, what to do next (pure), and the acts that do it."""
