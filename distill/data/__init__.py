"""Images and boxes on disk, and the training tiles made of them."""
