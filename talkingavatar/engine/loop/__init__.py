"""The machine a stage is trained on, and what happens between its steps."""
