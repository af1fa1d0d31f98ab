"""Settings of a training: frozen values with their defaults, and the structure of a detector."""
