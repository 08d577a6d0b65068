"""The definition of every reported number. Knows no method."""
