"""Audio2Param: a transformer from speech features to parts of a pose."""
