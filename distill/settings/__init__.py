"""Define the settings of a training: frozen values with their defaults, and a detector's structure."""
