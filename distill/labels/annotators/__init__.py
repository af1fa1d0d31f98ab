"""Define annotators: their protocol, the plain ones, and what the large models share."""
