"""Everything that a checkpoint needs: configurations, processors, encoders, models."""
