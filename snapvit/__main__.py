"""`python -m snapvit`."""

import sys

from snapvit.environment import prepare

prepare()

try:
    from snapvit.cli import main

    sys.exit(main())
except KeyboardInterrupt:  # while modules are being imported; later the command line answers it itself
    sys.exit(130)
