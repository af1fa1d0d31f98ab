"""Weave cloth from a model of its yarns: the look `woven` of the simulator.

`article` says what a cloth is made of, `interlacing` lights one repeat of its weave, `yarns` makes them
uneven, `dyes` gives stripes and checks, `cloth` puts them together. `thread_figures`, `fold_figures` and
`spot_figures` draw its defects, `kinds` lists them.
"""
