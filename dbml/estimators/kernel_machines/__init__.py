"""Kernel machines: kernel functions, dual solver, features of landmarks, probabilities of margins."""
