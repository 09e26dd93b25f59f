"""`convnet-roadmap attribute`, from a checkout."""

from roadmap.cli.attribute import main
from roadmap.cli.exit_status import run_script

if __name__ == "__main__":
    run_script(main)
