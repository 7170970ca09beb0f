"""Error analysis on predictions alone."""
