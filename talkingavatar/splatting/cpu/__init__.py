"""The rasteriser on CPUs: 16x16 tiles in numba, forward and hand-written backward.

Every result is the same to the bit for any number of threads: threads share out tiles, blocks of Gaussians or
strips of rows, write only what they own, and sums over tiles are taken afterwards in a fixed order.
"""
