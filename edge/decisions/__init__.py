"""What is done about what was found: when a defect stops the machine."""
