"""Policies: one file or folder per method."""
