"""Time and memory of an update, an epoch and a run on this device, and of several runs at once."""
