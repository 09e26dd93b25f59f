"""Layers that are computed in another way than torch's where that is faster."""
