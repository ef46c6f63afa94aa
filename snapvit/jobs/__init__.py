"""The background worker, and what pages can ask it to do."""
