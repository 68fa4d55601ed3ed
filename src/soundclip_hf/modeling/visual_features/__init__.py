"""From pictures and sounds to the visual tokens of a model: its layout, the tokens, and calls that are given both."""
