"""Decide when a defect stops the machine."""
