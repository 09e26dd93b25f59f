"""`convnet-roadmap series`, from a checkout."""

from roadmap.cli.exit_status import run_script
from roadmap.cli.series import main

if __name__ == "__main__":
    run_script(main)
