"""Feed-forward networks: where their numbers lie, how rows enter them, how they are trained."""
