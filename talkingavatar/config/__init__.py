"""What a valid run is: typed schema, composition with clear errors, the run's name. Knows no torch."""
