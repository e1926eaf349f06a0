"""Continuous density clustering: a bounded sample that stands for all clips, what clusters it shows, and their lives.

`space` is the joint space of the modalities, `linkage` and `hierarchy` are HDBSCAN over weighted points, `model` places
any clip in what they found, `sample` keeps the points few, `lineage` gives clusters numbers that stay, and `state` is
all of it as it goes on from clip to clip.
"""
