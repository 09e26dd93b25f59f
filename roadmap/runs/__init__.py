"""What a run leaves behind: its folder, its state and identity, and the dashboards that mirror it."""
