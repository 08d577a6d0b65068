"""The run: its directory, saving and continuing, signals, tracking, provenance, media."""
