"""From a config to records."""
