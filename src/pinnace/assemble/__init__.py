"""Settings and composition. The one place where components meet: which run in this process, with which client, engine and store."""
