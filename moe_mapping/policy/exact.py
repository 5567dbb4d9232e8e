"""The optimum of small problems, as a mixed-integer program solved by HiGHS (scipy).

    minimise  p_time z + p_layer sum_l z_l + p_hops sum_uv b_uv sum_st d_st f_uvst
              + p_rep R + p_new N
    copies    sum_s x_us^n = n y_u^n,  sum_n y_u^n = 1        (y: how many copies)
    time      sum of t_u / n x_us^n over the sites of a tile <= z, over those of layer l <= z_l
    room      crossbars on every tile, one copy per wide site, one copy of a unit per tile
    hops      sum_t f_uvst = x_us, sum_s f_uvst = x_vt        (Adams, Johnson 1994)

The products f stand for pairs of single copies: a problem has either traffic between its
units or replicas, not both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cimsim.errors import CimsimError
from moe_mapping.assignment import Assignment
from moe_mapping.objective import scale_of
from moe_mapping.packing import sites_of
from moe_mapping.plan import arrays_of, assignment_of, empty_plan
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_policy
from moe_mapping.state import Fixed, rebuild, rewritten

__all__ = ["MOST_UNITS", "MOST_UNITS_WITH_TRAFFIC", "is_small", "place"]

MOST_UNITS = 16
MOST_UNITS_WITH_TRAFFIC = 6
_SMALL = 8  # units, and tiles, of problems that the default solves to optimality
_MOST_VARIABLES = 4000
_NODE_LIMIT = 200_000


def is_small(problem: MappingProblem) -> bool:
    """Tell whether the exact solver is quick enough to be part of the default."""
    if problem.n_units > _SMALL or problem.n_tiles > _SMALL:
        return False  # on a large chip the price of traffic takes seconds
    traffic = scale_of(problem).per_hop_byte > 0.0
    replicas = _most_copies(problem).max() > 1
    if traffic:
        return problem.n_units <= MOST_UNITS_WITH_TRAFFIC and problem.n_tiles <= 6 and not replicas
    return int(_most_copies(problem).sum()) <= 20


@register_policy("exact")
def place(problem: MappingProblem, seed: int) -> Assignment:  # noqa: ARG001 - not random
    """Solve to optimality.

    Raises:
        CimsimError: if the problem is too large, or has traffic and replicas at once.
    """
    program = _Program(problem)
    return program.solve()


def _most_copies(problem: MappingProblem) -> NDArray[np.int64]:
    """Return the most copies a unit may have under the budget, [U]."""
    most = 1 + problem.budget // problem.crossbars
    return np.where(problem.replicable, np.minimum(most, problem.n_tiles), 1)


class _Program:
    """Columns and rows of the mixed-integer program of one problem."""

    def __init__(self, problem: MappingProblem) -> None:
        self.fixed: Fixed = arrays_of(problem)
        self.most = _most_copies(problem)
        self.tiles = problem.n_tiles
        self.sites = [sites_of(self.fixed, u) for u in range(problem.n_units)]
        self.traffic = sparse.coo_array(sparse.triu(problem.traffic_bytes))
        self.with_hops = bool(self.fixed.price[1] > 0.0)
        if self.with_hops and int(self.most.max()) > 1:
            raise CimsimError(
                "exact placement takes either traffic between units or replicas, not both",
                hint="use auto, or set the replica budget or the hop weight to 0",
            )
        # Times in ps are huge beside counts: z is in units of all the work on one tile.
        self.unit_ps = max(float(self.fixed.time_ps.sum()), 1e-300)
        self.cost: list[float] = [float(self.fixed.price[0]) * self.unit_ps]  # column 0 is z
        self.whole: list[int] = [0]
        self.layers = 0
        if self.fixed.price[4] > 0.0:  # columns 1 to L are z_l
            self.layers = int(self.fixed.layer.max()) + 1
            self.cost += [float(self.fixed.price[4]) * self.unit_ps] * self.layers
            self.whole += [0] * self.layers
        self.rows: list[tuple[dict[int, float], float, float]] = []
        self.on_site: dict[tuple[int, int, int], int] = {}
        self._place_columns()
        self._room_rows()
        if self.with_hops:
            self._hop_columns()

    def _column(self, cost: float, *, whole: bool) -> int:
        self.cost.append(cost)
        self.whole.append(int(whole))
        if len(self.cost) > _MOST_VARIABLES:
            raise CimsimError(
                f"the problem is too large for exact placement ({self.fixed.need.size} units)",
                allowed=f"about {MOST_UNITS} units, {MOST_UNITS_WITH_TRAFFIC} with traffic",
                hint="use auto",
            )
        return len(self.cost) - 1

    def _place_columns(self) -> None:
        price = self.fixed.price
        for u, sites in enumerate(self.sites):
            need = float(self.fixed.need[u])
            choose = {}
            for n in range(1, int(self.most[u]) + 1):
                how_many = self._column(price[2] * (n - 1) * need, whole=True)
                choose[how_many] = 1.0
                copies = {how_many: -float(n)}
                for s in sites.tolist():
                    new = price[3] * rewritten(self.fixed, u, s)
                    x = self._column(float(new), whole=True)
                    self.on_site[u, s, n] = x
                    copies[x] = 1.0
                self.rows.append((copies, 0.0, 0.0))
            self.rows.append((choose, 1.0, 1.0))

    def _room_rows(self) -> None:
        fixed = self.fixed
        time: list[dict[int, float]] = [{0: -1.0} for _ in range(self.tiles)]
        layers: list[list[dict[int, float]]] = [
            [{1 + i: -1.0} for _ in range(self.tiles)] for i in range(self.layers)
        ]
        room: list[dict[int, float]] = [{} for _ in range(self.tiles)]
        wide: dict[int, dict[int, float]] = {}
        twins: dict[tuple[int, int], dict[int, float]] = {}
        budget: dict[int, float] = {}
        for (u, s, n), x in self.on_site.items():
            for part in range(int(fixed.site_start[s]), int(fixed.site_start[s + 1])):
                tile = int(fixed.site_tile[part])
                time[tile][x] = float(fixed.time_ps[u]) / n / self.unit_ps
                if self.layers:
                    layers[int(fixed.layer[u])][tile][x] = time[tile][x]
                twins.setdefault((u, tile), {})[x] = 1.0
                if fixed.site_class[s] < 0:
                    room[tile][x] = float(fixed.need[u])
            if fixed.site_class[s] >= 0:
                wide.setdefault(s, {})[x] = 1.0
            budget[x] = float(fixed.need[u])
        total = float(fixed.need.sum() + fixed.limits[0])
        self.rows += [(row, -np.inf, 0.0) for row in (*time, *(r for rows in layers for r in rows))]
        self.rows += [(row, 0.0, float(fixed.room[t])) for t, row in enumerate(room) if row]
        self.rows += [(row, 0.0, 1.0) for row in (*wide.values(), *twins.values())]
        self.rows.append((budget, 0.0, total))

    def _hop_columns(self) -> None:
        rows, columns = self.traffic.coords
        for u, v, amount in zip(
            rows.tolist(), columns.tolist(), self.traffic.data.tolist(), strict=True
        ):
            leaving = {s: {self.on_site[u, s, 1]: -1.0} for s in self.sites[u].tolist()}
            coming = {t: {self.on_site[v, t, 1]: -1.0} for t in self.sites[v].tolist()}
            for s, out in leaving.items():
                for t, into in coming.items():
                    hops = float(self.fixed.site_hops[s, t])
                    f = self._column(float(self.fixed.price[1]) * amount * hops, whole=False)
                    out[f] = into[f] = 1.0
            self.rows += [(row, 0.0, 0.0) for row in (*leaving.values(), *coming.values())]

    def solve(self) -> Assignment:
        """Run HiGHS and read the sites off the solution."""
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 - a fifth of a second at each start

        n = len(self.cost)
        data, row_of, column_of = [], [], []
        for i, (row, _, _) in enumerate(self.rows):
            row_of += [i] * len(row)
            column_of += list(row)
            data += list(row.values())
        matrix = sparse.csr_array((data, (row_of, column_of)), shape=(len(self.rows), n))
        limits = LinearConstraint(
            matrix, [low for _, low, _ in self.rows], [high for _, _, high in self.rows]
        )
        upper = np.ones(n)
        upper[: 1 + self.layers] = np.inf
        found: Any = milp(
            self.cost,
            integrality=np.array(self.whole, dtype=np.int64),
            bounds=Bounds(np.zeros(n), upper),
            constraints=limits,
            options={"node_limit": _NODE_LIMIT, "mip_rel_gap": 1e-9},
        )
        if found.status != 0 or found.x is None:
            raise CimsimError(
                "exact placement did not finish within its node limit",
                allowed=f"{_NODE_LIMIT} nodes",
                hint="use auto",
            )
        plan = empty_plan(self.fixed)
        for (u, s, _), x in self.on_site.items():
            if found.x[x] > 0.5:
                plan.site[u, plan.copies[u]] = s
                plan.copies[u] += 1
        rebuild(self.fixed, plan)
        return assignment_of(self.fixed, plan)
