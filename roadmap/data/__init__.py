"""The images: where they come from, how they are varied, and in which batches they come."""
