"""Networks: plans from design choices, modules from plans, import of other libraries' weights, and cost."""
