"""Services and endpoints become a plan of nftables maps."""
