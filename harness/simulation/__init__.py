"""A GPU for machines that have none; every number from here is marked simulated."""
