"""`python -m snapvit`."""

import sys

from snapvit.environment import prepare

prepare()

from snapvit.cli import main

sys.exit(main())
