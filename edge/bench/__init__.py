"""edge-bench: how fast this box is."""
