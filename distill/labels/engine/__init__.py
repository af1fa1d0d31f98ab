"""Run the data engine: annotators in shards, one calibrated opinion of each image, a data set."""
