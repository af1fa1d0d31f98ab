"""Choose the operating point of a detector: thresholds under a budget of false positives."""
