"""The exact network of a crossbar with resistive wires: the oracle of the first-order drop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["solve_wires"]

Floats = NDArray[np.float64]


def solve_wires(conductance: Floats, resistance: float) -> Floats:
    """Return the exact effective conductances of a crossbar with resistive wires.

    Nodal analysis of the same network as `cimsim.mac.wires`: a node of the row wire and one
    of the column wire at every cell, drivers before column 0, virtual ground behind the last
    row. Row i alone is driven with 1; the current into ground of column j is G_eff_ij.

    Args:
        conductance: [rows, columns] over g_max.
        resistance: of a wire segment times g_max, above 0.
    """
    rows, columns = conductance.shape
    n = rows * columns
    wire = 1.0 / resistance
    a = np.zeros((2 * n, 2 * n))
    source = np.zeros((2 * n, rows))
    for i in range(rows):
        for j in range(columns):
            r, c = i * columns + j, n + i * columns + j
            g = conductance[i, j]
            a[r, r] += g
            a[c, c] += g
            a[r, c] -= g
            a[c, r] -= g
            a[r, r] += wire  # towards the driver
            if j > 0:
                left = r - 1
                a[left, left] += wire
                a[r, left] -= wire
                a[left, r] -= wire
            else:
                source[r, i] += wire
            a[c, c] += wire  # towards the read-out
            if i + 1 < rows:
                below = c + columns
                a[below, below] += wire
                a[c, below] -= wire
                a[below, c] -= wire
    voltage = np.linalg.solve(a, source)
    return np.asarray(voltage[n + (rows - 1) * columns :].T * wire)
