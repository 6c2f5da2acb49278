"""The robot side of the stack: the one loop, actors, guards and clocks; no torch at import."""
