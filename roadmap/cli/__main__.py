"""`python -m roadmap.cli`, the same as `convnet-roadmap`."""

import sys

from roadmap.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
