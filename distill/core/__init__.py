"""Provide run folders, tensor files, processes, precision, progress and figures to every other package."""
