"""Build detectors: their structure as data, and the module built from it."""
