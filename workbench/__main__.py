"""Entry of ``python -m workbench``."""

import sys

from workbench.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
