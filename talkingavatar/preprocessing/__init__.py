"""Real video to a capture: ingest, landmarks, mattes, full-body motion alignment."""
