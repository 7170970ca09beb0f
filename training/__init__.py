"""Minimal training of image classifiers; knows nothing of ``workbench``."""
