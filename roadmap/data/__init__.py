"""Data: sources of images, augmentation, and batches."""
