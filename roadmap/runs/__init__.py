"""Records of a run: its folder, state and identity, and the dashboards that mirror it."""
