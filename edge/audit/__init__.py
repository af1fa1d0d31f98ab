"""Keep the audit log of a device: who did what and when, in a chain of digests."""
