"""Move data in batches, exactly once."""
