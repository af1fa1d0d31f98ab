"""The operating point of a detector: thresholds under a budget of false positives, and what they give."""
