"""Values that nobody would write, and how to give them to the real commands: shared by property tests."""
