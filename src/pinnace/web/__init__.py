"""HTTP server and client, upgrades, WebSocket and SPDY framing, streaming. The one door to HTTP parsing."""
