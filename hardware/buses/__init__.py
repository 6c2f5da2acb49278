"""Serial buses of servos: what goes over the wire, the registers behind it, and a bus that survives bad packets."""
