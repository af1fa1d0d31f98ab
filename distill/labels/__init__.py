"""Labels: their formats and checks, the annotators that propose them, and the review that settles them."""
