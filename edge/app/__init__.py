"""Run a device: assemble each camera's run, share what cameras share, summarise."""
