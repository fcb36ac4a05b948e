"""Principal components and singular vectors: steps, solvers and what is made of a spectrum."""
