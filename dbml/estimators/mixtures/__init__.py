"""Mixtures of normal distributions, by expectation and maximisation."""
