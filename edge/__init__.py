"""The box beside the loom: capture, inspect, record. Needs numpy, OpenCV and an inference runtime."""

__version__ = "0.1.0"
