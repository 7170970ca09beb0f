"""Whether a map can be trusted."""
