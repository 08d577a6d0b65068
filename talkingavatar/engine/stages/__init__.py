"""What an experiment trains, part by part."""
