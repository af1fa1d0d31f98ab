"""Change the schema of the office's database step by step, up and down, with what is in it."""
