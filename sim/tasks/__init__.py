"""Tasks of the play table."""
