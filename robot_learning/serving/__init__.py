"""Serving policies to other processes."""
