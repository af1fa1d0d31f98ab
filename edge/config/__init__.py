"""Define the settings of the edge: one model per table, read from file, environment and flags."""
