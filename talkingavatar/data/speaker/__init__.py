"""The synthetic speaker: a person who talks, made rather than filmed."""
