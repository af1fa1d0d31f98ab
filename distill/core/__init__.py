"""Serve every other package: run folders, tensor files, processes, precision, progress, figures."""
