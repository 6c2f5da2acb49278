"""Importers from other data formats; one file each."""
