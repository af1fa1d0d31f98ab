"""From a frame to detections: prepare, run the network, decode, merge."""
