"""One generic reconcile loop and one file per controller, each a pure plan over what informers show."""
