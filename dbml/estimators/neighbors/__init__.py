"""Nearest neighbours: rows kept in cells, exact and approximate search over them."""
