"""Fitted runs measured by the metric suite: frames are drawn once a condition and every number is taken on the way."""
