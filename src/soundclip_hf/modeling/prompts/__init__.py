"""Chat messages and their markers, and the arguments of a processor's call."""
