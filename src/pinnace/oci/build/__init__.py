"""Base images from Debian packages, with no image registry in reach.

`specification` says what an image is, `debian` asks apt which packages that means and fetches them, `packages` reads them, `layer` writes
deterministic layers, `archive` the docker-archive around them, `builder` does it all with caches.
"""
