"""The version of the metric suite, which every result carries."""

SUITE_VERSION = 2  # raise when numbers of the same pictures would change for more than one measure
