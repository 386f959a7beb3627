"""The node agent: pod workers, probes, volumes, status, and the endpoint for logs, exec, attach and port-forward."""
