"""The commands: train, sweep, launch, estimate, and what they print."""
