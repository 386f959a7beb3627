"""The node's HTTPS endpoint: logs, exec, attach, port-forward, figures."""
