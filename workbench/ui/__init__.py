"""The explorer's widget: it binds the state to the views in ``static``."""
