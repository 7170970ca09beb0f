"""The nouns: records, predictions, the stamp of a file, files that are whole or absent."""
