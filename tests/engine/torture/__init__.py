"""A database that is hard to bring back, and an independent judge of whether it came back."""
