"""Baked avatars in a browser: the page and its renderer (`assets`), the server, and speech as it is spoken."""
