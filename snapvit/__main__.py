"""`python -m snapvit`."""

import sys

from snapvit.cli import main

sys.exit(main())
