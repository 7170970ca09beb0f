"""The nouns: records, predictions, the provenance stamp of a file, atomic file writes."""
