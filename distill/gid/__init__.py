"""General Instance Distillation (Dai et al., CVPR 2021): where to learn from a teacher, and what."""
