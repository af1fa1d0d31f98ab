"""Where results go: one module each behind one protocol."""
