"""The training loop, where it starts, its stages, and what is measured at its end."""
