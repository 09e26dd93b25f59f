"""Augmentation: on whole batches on the device, and image by image in dataloader workers."""
