"""Commands of the workbench, one module each; those of `loomsight` import torch only once they run."""
