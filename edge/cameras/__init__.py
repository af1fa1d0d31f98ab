"""Deliver frames: one module per kind of camera behind one protocol."""
