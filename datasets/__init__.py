"""The demonstration store, its windows and its loader."""
