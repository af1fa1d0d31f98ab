"""Find mistakes in a label set, count what it holds, report both."""
