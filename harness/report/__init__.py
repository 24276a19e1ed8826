"""Tables and figures for people, from records."""
