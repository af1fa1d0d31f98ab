"""A loom in software: woven cloth with planted defects and exact truth, as a camera and as a data set.

`options` says what to weave, `loom` weaves it, `camera` photographs it, `dataset` writes it to disk.
Nothing is imported here, so that naming the package costs nothing.
"""
