"""Small models of the real classes, with random weights, made without a download."""
