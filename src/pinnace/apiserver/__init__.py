"""The Kubernetes API: routes, discovery, verbs, admission, authentication, authorisation. Only this component touches the store."""
