"""Train: the loop, its starting point, its stages, and the measurements at its end."""
