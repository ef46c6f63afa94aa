"""`python -m snapvit`."""

import os
import sys

# Waiting threads of torch's OpenMP spin by default: with another busy process on a two-core laptop that costs more
# than half the speed, against a tenth when alone. It must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from snapvit.cli import main

sys.exit(main())
