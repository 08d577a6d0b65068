"""What is no mistake, but cannot be measured."""


class Unmeasurable(Exception):
    """A run or its capture does not have what a condition asks for; a table's cells say so."""
