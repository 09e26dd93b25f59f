"""`convnet-roadmap show`, from a checkout."""

from roadmap.cli.exit_status import run_script
from roadmap.cli.show import main

if __name__ == "__main__":
    run_script(main)
