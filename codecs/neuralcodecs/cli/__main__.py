"""``python -m neuralcodecs.cli``."""

import sys

from neuralcodecs.cli import main

if __name__ == "__main__":
    sys.exit(main())
