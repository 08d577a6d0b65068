"""What running a program takes, whatever it computes: compiled code kept on disk, work shared out over threads."""
