"""Trains one step of the modernization roadmap, or with -m a sweep of them.

python train.py +roadmap=step5_inverted
python train.py -m +sweep=roadmap seed=0,1,2
python train.py --help
"""

import sys

import hydra
from omegaconf import DictConfig

from roadmap.cli import train as command


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(cfg: DictConfig) -> None:
    command.run_job(cfg)


if __name__ == "__main__":
    sys.exit(command.main(run))
