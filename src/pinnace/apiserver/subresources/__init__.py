"""Subresources that are more than a part of their object: scale, binding, eviction, tokens, tunnels to the kubelet."""
