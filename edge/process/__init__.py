"""Run a program around its work: signals, helper threads, terminal, last resorts, packages."""
