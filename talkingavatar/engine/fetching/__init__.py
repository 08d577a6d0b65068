"""From others, with a licence that lets a program get it, to the usual cache."""
