"""From results on disk to tables. Imports no torch: a table is printed on a login node in a second."""
