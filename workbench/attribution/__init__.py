"""Attributions: maps of what a model's output rests on."""
