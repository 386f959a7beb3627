"""Addresses, plans (pure) and appliers (netlink, nftables)."""
