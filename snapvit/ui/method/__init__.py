"""What the Method page is made of: the four steps, taught with a run's own numbers."""
