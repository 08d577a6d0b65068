"""Tests; `check` is what holds annotations to their word while they run."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for every type checker
