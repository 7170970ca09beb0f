"""Thin widgets that bind the explorer state."""
