"""Fitted avatars as files that other programs open."""
