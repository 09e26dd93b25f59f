"""Trains one step of the modernization roadmap, or with -m a sweep of them.

python train.py +roadmap=step5_inverted
python train.py -m +sweep=roadmap seed=0,1,2
python train.py --help
"""

import sys

from roadmap.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
