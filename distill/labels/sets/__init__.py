"""Hold label sets in memory: regions, names, groups and splits, and their image files."""
