"""Files for people: reports, trials of methods, model cards, and their verification."""
