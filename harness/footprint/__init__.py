"""From joules to meaning."""
