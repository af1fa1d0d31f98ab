"""Detect defects in a frame: prepare, run the network, decode, merge."""
