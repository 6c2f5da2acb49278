"""Configurations, found by name once this package is installed."""
