"""Fitting a network, and scoring it."""
