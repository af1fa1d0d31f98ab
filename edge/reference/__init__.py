"""Model what clean cloth of an article looks like, and find what does not belong there.

Early features of a small network (`trunk`), whitened by the statistics of the article's own clean cloth
(`statistics`, `follow`), become maps of distances (`maps`) and regions (`regions`). No training, no labels.
"""
