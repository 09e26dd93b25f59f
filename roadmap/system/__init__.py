"""Environment of a process: cores, memory, locks, rank and console."""
