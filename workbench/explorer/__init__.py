"""One person looks: state, selection, decisions, and the views that show them."""
