"""Specs, types, protocols and errors that everything else shares; NumPy only."""
