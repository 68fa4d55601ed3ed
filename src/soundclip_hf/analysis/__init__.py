"""What results say: the paper's tables as data, its claims recomputed, the trade-off of retrieval and generation."""
