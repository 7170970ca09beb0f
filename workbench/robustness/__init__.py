"""How the prediction changes with the image."""
