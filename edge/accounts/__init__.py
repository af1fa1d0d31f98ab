"""Know the users of a device, their roles, and what each role may change."""
