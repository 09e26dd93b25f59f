"""`convnet-roadmap plot`, from a checkout."""

from roadmap.cli.plot import main
from roadmap.cli.script import run_script

if __name__ == "__main__":
    run_script(main)
