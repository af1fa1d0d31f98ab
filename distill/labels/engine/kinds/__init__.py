"""The kinds of annotators that the engine asks, one module each; `engine/registry.py` lists them."""
