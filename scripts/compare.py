"""`convnet-roadmap compare`, from a checkout."""

from roadmap.cli.compare import main
from roadmap.cli.exit_status import run_script

if __name__ == "__main__":
    run_script(main)
