"""From one sweep file to many runs and their state, here or on SLURM. Imports no torch: works on a login node."""
