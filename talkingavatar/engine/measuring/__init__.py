"""Numbers: of a finished fit, of held-out frames, of speed."""
