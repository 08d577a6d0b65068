"""Motion that is drawn, window after window, from noise and sound."""
