"""What a model is worth: embeddings or answers in; numbers with their uncertainty out."""
