"""Normals and smoothing of triangle meshes in numpy, for building figures (once), not for drawing them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix, diags

from talkingavatar.data.speaker import raster
from talkingavatar.data.speaker.renderer import incidence


def smooth_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V 3"]:
    first, incident = incidence(faces.astype(np.int32), len(vertices))
    return raster.vertex_normals(vertices.astype(np.float32), faces.astype(np.int32), first, incident).astype(float)


def averaging(faces: Int[np.ndarray, "F 3"], count: int) -> csr_matrix:
    """The matrix that takes each vertex to the mean of its neighbours; vertices of open edges stay."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    both = np.concatenate([edges, edges[:, ::-1]])
    matrix = coo_matrix((np.ones(len(both)), both.T), shape=(count, count)).tocsr()
    open_edges = coo_matrix(matrix == 1)
    border = np.unique(np.concatenate([open_edges.row, open_edges.col]))
    matrix.data[:] = 1
    degree = np.asarray(matrix.sum(1)).ravel()
    matrix = diags(1 / np.maximum(degree, 1)) @ matrix
    keep = np.ones(count)
    keep[border] = 0
    return (diags(keep) @ matrix + diags(1 - keep * (degree > 0))).tocsr()
