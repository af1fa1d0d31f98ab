"""Stop the machine: one module for each way, behind one protocol, fired from a thread of its own."""
