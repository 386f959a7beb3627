"""The node itself: who it is in the API, which pods it takes, what it does from time to time to stay able to run them."""
