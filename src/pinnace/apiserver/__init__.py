"""The Kubernetes API: routes, discovery, OpenAPI, verbs, subresources, admission, authentication, authorisation, watch. The only component that touches the store."""
