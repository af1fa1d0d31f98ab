"""What an engineer looks at after a training: confusion, curves, and the worst mistakes as pictures."""
