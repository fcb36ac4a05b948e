"""Solvers: a loss, a penalty and a way to the minimum, over any source of passes."""
