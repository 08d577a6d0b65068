"""Maths on tensors: rotations, cameras, meshes, spherical harmonics. Knows no files and no config."""
