"""Ways for a person to move a robot: each is an Actor."""
