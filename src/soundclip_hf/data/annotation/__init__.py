"""What a clip shows and how well sound and picture fit: captions, and the judgements of a rubric."""
