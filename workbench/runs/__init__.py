"""A run: predictions with, where they are at hand, the images and the model."""
