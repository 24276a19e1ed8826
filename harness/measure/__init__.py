"""From readings to one number with its doubt."""
