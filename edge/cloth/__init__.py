"""What is true of the cloth, in metres along the roll and millimetres from the left selvedge."""
