"""Fewer channels: which ones a detector can do without, and the detector without them.

`detector.channels` describes, `plan`, `depgraph` and `latency` choose, `apply` cuts, `check` proves.
"""
