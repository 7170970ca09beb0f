"""How the answer changes with the image."""
