"""Outline boxes by Segment Anything; its mask decoder learns a plant's defects."""
