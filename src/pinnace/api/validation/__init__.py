"""What is wrong with an object that is decoded and defaulted, in upstream's words, paths and order. Which kind is held to what says its `rules`."""
