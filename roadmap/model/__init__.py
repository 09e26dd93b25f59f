"""The networks: a plan from design choices, modules from a plan, weights from elsewhere, and their cost."""
