"""The entries of the table of stages, a file for those that belong together. A new stage is one entry here."""
