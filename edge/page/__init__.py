"""Serve the live page: what the camera sees and what is wrong with it, and a verdict with one tap."""
