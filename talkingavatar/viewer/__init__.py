"""Avatars in a browser."""
