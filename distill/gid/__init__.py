"""Distil by General Instance Distillation (Dai et al., CVPR 2021): choose where and what to learn."""
