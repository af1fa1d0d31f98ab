"""Command lines of the edge: flags in, text and exit codes out."""
