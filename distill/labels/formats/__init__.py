"""Read and write labels: one module per format, and their registry."""
