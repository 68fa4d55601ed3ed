"""Pictures of results, and of the patches that a sound keeps. All need the `plots` extra."""
