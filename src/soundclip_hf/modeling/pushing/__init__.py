"""`push_to_hub` of models, audio encoders and processors."""
