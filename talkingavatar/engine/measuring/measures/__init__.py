"""The metrics, a file each; `registry` is the list."""
