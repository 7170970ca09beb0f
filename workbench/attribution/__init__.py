"""Attributions: maps of what a model's output depends on."""
