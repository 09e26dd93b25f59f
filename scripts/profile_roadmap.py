"""Cost, speed and memory of every step on this device."""

from roadmap.cli.exit_status import run_script
from roadmap.cli.profile import main

if __name__ == "__main__":
    run_script(main)
