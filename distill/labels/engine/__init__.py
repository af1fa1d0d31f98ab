"""The data engine: annotators asked in shards, one calibrated opinion of each picture, a data set."""
