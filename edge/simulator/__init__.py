"""A loom in software: woven cloth with planted defects and exact truth.

`options` says what to weave, `loom` weaves it. `edge.cameras.loom` photographs it, `edge.dataset` writes it
to disk. Nothing is imported here, so that naming the package costs nothing.
"""
