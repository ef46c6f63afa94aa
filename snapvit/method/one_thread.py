"""`@ONE_THREAD`: what a search is made of, to the same last bit however many threads BLAS has."""

from __future__ import annotations

import numpy as np  # noqa: F401 - its BLAS has to be loaded for the limit to find it
from threadpoolctl import threadpool_limits

# Products and eigenvectors of BLAS depend on its threads, and a search goes on to the same numbers with any of them.
ONE_THREAD = threadpool_limits.wrap(limits=1, user_api="blas")
