"""Cost, speed and memory of every step on this device."""

from roadmap.cli.profile import main
from roadmap.cli.script import run_script

if __name__ == "__main__":
    run_script(main)
