"""What is trained once and used by others."""
