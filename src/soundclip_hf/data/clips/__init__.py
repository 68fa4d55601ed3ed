"""Long videos in, clips of three seconds out, exact to the frame and to the sample."""
