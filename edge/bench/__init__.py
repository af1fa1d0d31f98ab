"""Measure how fast this device inspects: `edge-bench`."""
