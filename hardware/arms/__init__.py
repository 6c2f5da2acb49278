"""Arms behind the Robot protocol, and what they are made of."""
