"""The study of 88 models: its runs, its tables, its accounting and others, and what is claimed from it."""
