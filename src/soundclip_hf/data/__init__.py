"""AVE-2 and its kin: schema, validation, segments, judgements, statistics. Modules are imported by name."""
