"""What every controller stands on: the reconcile loop, its actions, its view of the caches, and questions that many ask."""
