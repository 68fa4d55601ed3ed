"""Configuration, feature extractor and model of one audio encoder."""
