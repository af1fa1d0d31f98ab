"""Prune channels: choose those that a detector can do without, and cut them.

`detector.channels` describes, `plan`, `depgraph` and `latency` choose, `apply` cuts, `check` proves.
"""
