"""The page of `soundclip demo`: what it answers, shows and finds, and its layout; the files of a Space that runs it."""
