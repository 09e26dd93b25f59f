"""Figures as files: the roadmap, kernel sizes, ablations, hyperparameters."""
