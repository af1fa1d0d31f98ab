"""Train, distil and prune detectors on the workbench. Needs torch and ultralytics."""
