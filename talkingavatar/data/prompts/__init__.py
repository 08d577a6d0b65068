"""What a user asks of a face, in words or action units, as curves over the clock."""
