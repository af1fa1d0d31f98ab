"""Label by a teacher: Florence-2, fine-tuned on a plant's own labels."""
