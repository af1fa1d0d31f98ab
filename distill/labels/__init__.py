"""Labels: the forms people keep them in, and the teacher that writes them for pictures nobody labelled."""
