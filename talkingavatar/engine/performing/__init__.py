"""A fitted avatar gives a performance."""
