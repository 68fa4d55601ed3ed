"""What was made here, on a Hub: cards and uploads."""
