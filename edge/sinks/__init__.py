"""Write results: one module for each kind of sink behind one protocol."""
