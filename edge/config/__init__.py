"""Settings of the edge: one model for each table, read from file, environment and flags."""
