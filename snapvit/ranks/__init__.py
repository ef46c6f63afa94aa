"""Several processes that make one run together: shared work, one order of sums. One process is a crew of its own."""
