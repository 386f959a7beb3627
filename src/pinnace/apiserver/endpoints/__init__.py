"""What is served that is no resource: discovery, OpenAPI, keys, health, metrics."""
