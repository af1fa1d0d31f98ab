"""The workbench: train, distil and prune detectors. Needs torch and ultralytics."""
