"""Files for readers: reports, trials of methods, model cards, and their verification."""
