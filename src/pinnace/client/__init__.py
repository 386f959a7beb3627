"""The one road to cluster state: API client, list-watch informers, leases, events."""
