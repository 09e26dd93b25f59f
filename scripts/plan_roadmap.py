"""Time, memory, money and energy of a train.py command, before it runs."""

from roadmap.cli.plan import main
from roadmap.cli.script import run_script

if __name__ == "__main__":
    run_script(main)
