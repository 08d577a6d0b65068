"""Captures on disk, the batches made from them, and the embedded synthetic speaker."""
