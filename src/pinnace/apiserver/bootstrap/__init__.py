"""What every cluster has from its first moment: namespaces, roles, the `kubernetes` Service, priority classes."""
