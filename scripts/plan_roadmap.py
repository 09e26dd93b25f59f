"""Time, memory, money and energy of a train.py command, before it runs."""

from roadmap.cli.exit_status import run_script
from roadmap.cli.plan import main

if __name__ == "__main__":
    run_script(main)
