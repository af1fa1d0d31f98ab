"""From a checkpoint to a bundle that a box can trust."""
