"""Tests of the torch blocks."""
