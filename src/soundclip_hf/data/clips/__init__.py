"""Cuts long videos into clips of three seconds, exact to the frame and to the sample."""
