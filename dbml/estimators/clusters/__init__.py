"""How rows are grouped: centres, where they start, and how they move."""
