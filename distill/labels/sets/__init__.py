"""Label sets in memory: regions, names, groups and splits, and the image files they are of."""
