"""The data set itself: its schema, tables and shards, how it is loaded and verified."""
