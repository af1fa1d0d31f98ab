"""Inspect one camera: its frames in the order of the cloth, into the record."""
