"""Whether a map is to be believed."""
