"""Inspect cloth on the device beside the loom: capture, detect, record. Needs numpy, OpenCV, a runtime."""

__version__ = "0.1.0"
