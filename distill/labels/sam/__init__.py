"""Segment Anything: boxes become outlines and tight boxes; its mask decoder learns the mill's defects."""
