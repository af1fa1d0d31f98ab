"""Simulate a loom: woven cloth with planted defects and exact ground truth.

`options` says what to weave, `loom` weaves it. `edge.cameras.loom` captures it, `edge.dataset` writes it
to disk. Nothing is imported here, so that naming the package costs nothing.
"""
