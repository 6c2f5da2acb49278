"""Collecting demonstrations and play: robots and actors in worker processes, one store."""
