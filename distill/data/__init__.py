"""Read images and boxes, and cut them into training tiles."""
