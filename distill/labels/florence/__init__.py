"""The labelling teacher: Florence-2, fine-tuned on a mill's own labels, and what it says of pictures."""
