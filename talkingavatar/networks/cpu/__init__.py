"""What every step does to every Gaussian, compiled for CPUs: forward, hand-written backward, spread over threads.

Each has a plain torch twin that is the readable truth; tests hold the two together. As in the rasteriser, results are
the same to the bit for any number of threads: what several rows add to is summed in a fixed number of strips, then
strip by strip.
"""

STRIPS = 4  # parts of all rows with sums of their own
BLOCK = 512  # rows a unit of work
