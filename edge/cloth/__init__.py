"""Locate findings on the cloth, in metres along the roll and millimetres from the left selvedge."""
