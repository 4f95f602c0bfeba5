import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I32

def add_trees(
    inputs: F64,
    roots: I32,
    depths: I32,
    feature: I32,
    threshold: F64,
    children: I32,
    missing_right: NDArray[np.uint8],
    sets: I32,
    set_sizes: I32,
    members: NDArray[np.uint8],
    values: F64,
    output: F64,
    leaves: I32,
) -> None:
    """Add every tree's value to ``output`` ``[n]`` for rows ``inputs`` ``[n, F]``; see :class:`.fits.trees.Trees`.

    ``leaves`` ``[n, T']`` receives the node in which each row ends in each of the first T' trees.
    """
