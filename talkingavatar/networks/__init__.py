"""Stage parts without training logic: they know no Lightning, no losses and no config files."""
