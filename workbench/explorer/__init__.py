"""The interactive explorer: state, selection, decisions, and the views that show them."""
