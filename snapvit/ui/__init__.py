"""Streamlit helpers that the pages share: page set-up, selection, results, the job panel."""

import os

# Waiting threads of torch's OpenMP would spin and starve the web server beside them (see __main__.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from snapvit.ui.flow import flowing_columns
from snapvit.ui.page import no_run_yet, open_page
from snapvit.ui.resources import chosen_live_data, chosen_results
from snapvit.ui.selection import Selection, change

__all__ = ["Selection", "change", "chosen_live_data", "chosen_results", "flowing_columns", "no_run_yet", "open_page"]
