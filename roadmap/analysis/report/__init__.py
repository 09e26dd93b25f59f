"""The HTML report: charts, diagrams, recipe and commands on one page."""
