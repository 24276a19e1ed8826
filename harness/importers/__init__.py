"""Foreign files -> records, one file per format."""
