"""Where frames come from: one module per kind of camera behind one protocol."""
