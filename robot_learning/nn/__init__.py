"""Torch blocks that know no policy."""
