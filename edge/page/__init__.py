"""The live page: what the box sees and what is wrong with it, in a browser; a verdict with one tap."""
