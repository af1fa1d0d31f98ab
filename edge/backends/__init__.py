"""Inference runtimes: one module each, the same names in each."""
