"""Sites: where visits are served, as flat arrays that both engines read.

A site is one seat (or switchable slot) seen by one product stage: which ADC groups (PEs) it
occupies, which tiles take its inputs, what moves between its tiles inside a visit, and
where its results come out. PEs that always serve the same sites move in lockstep and are
one *server*, so a visit touches a handful of servers however many crossbars it drives.

Inside a visit, transfers between tiles come in three rounds: partial sums of row splits to
the tile that owns the columns (24 bits), hidden activations to the tiles that hold the
second matrix (input bits), results to the root tile (24 or 16 bits). A unit whose outputs
are summed with others' (experts) leaves from its root; other units from every owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Tiling, Unit, crossbar_numbers
from cimsim.config import ChipConfig
from cimsim.engine.servers import group_pes
from cimsim.engine.tiers import tiers_by_tile

__all__ = ["PSUM_BITS", "RESULT_BITS", "ROUNDS", "SiteSpec", "Sites", "build_sites"]

PSUM_BITS = 24
"""Width of a partial sum between crossbars, PEs and tiles."""
RESULT_BITS = 16
"""Width of a finished result on its way to a digital unit."""
ROUNDS = 3

Int64 = NDArray[np.int64]
_Pairs = dict[tuple[int, int, int], int]


@dataclass(frozen=True)
class SiteSpec:
    """What becomes one site.

    Attributes:
        unit: the matrices served there (part of a unit for the two stages of attention).
        crossbars: their crossbars, in the order of the tilings.
        summed: whether results are added to other sites' results (experts).
        name: in messages and traces.
    """

    unit: Unit
    crossbars: Sequence[int]
    summed: bool
    name: str


@dataclass(frozen=True)
class Sites:
    """Sites of a chip; `x_ptr` arrays delimit the rows of the flat array beside them.

    Attributes:
        fill_ps, interval_ps: closed form of a visit, per site; an interval is that of a token.
        adc_fill_ps, adc_interval_ps: what conversions add to them.
        buffer_bytes: input and result bytes of one vector in each tile of the site.
        server_ptr, servers: ADC groups occupied.
        tile_ptr, tiles: tiles touched, rising.
        tier, tier_turns: tier of each of these tiles that a visit begins with, and switches of
            tiers inside it: 0 where it is on one tier; empty where tiles have one tier.
        in_ptr, in_tiles: tiles that take the input vector.
        pair_ptr, pair_round, pair_source, pair_target, pair_flits: transfers inside a visit,
            a token.
        out_ptr, out_tiles, out_flits: where results leave, flits per token.
        psum_bits: bits of partial sums moved, a token.
        server_tile_ptr, server_tile, server_pes: PEs of a server, by tile.
        in_bits, out_bits: of the input and result vectors of one token, per site.
        pes_per_tile: PEs in a tile.
        power_nw: power of the site while it takes vectors in; 0 where no limit is set.
        names: of the sites.
    """

    fill_ps: Int64
    interval_ps: Int64
    adc_fill_ps: Int64
    adc_interval_ps: Int64
    buffer_bytes: Int64
    server_ptr: Int64
    servers: Int64
    tile_ptr: Int64
    tiles: Int64
    tier: Int64
    tier_turns: Int64
    in_ptr: Int64
    in_tiles: Int64
    pair_ptr: Int64
    pair_round: Int64
    pair_source: Int64
    pair_target: Int64
    pair_flits: Int64
    out_ptr: Int64
    out_tiles: Int64
    out_flits: Int64
    psum_bits: Int64
    server_tile_ptr: Int64
    server_tile: Int64
    server_pes: Int64
    in_bits: Int64
    out_bits: Int64
    pes_per_tile: int
    power_nw: Int64
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of sites."""
        return len(self.names)

    @property
    def n_servers(self) -> int:
        """Number of ADC-group servers."""
        return len(self.server_tile_ptr) - 1


def build_sites(
    specs: list[SiteSpec],
    timing_ps: list[tuple[int, int, int, int]],
    power_nw: list[int],
    config: ChipConfig,
    mesh: ChipMesh,
) -> Sites:
    """Lower seats and slots to sites.

    Args:
        specs: one per site.
        timing_ps: fill and interval of each, in ps, and what conversions add to them.
        power_nw: power of each while it takes vectors in.
        config: the chip.
        mesh: its geometry.
    """
    shapes = _ShapeCache(config, mesh.crossbars_per_tile)
    rows = [shapes.get(s) for s in specs]
    servers = group_pes([s.crossbars for s in specs], config)
    pairs = [[(r, a, b, f) for (r, a, b), f in sorted(row.pairs.items())] for row in rows]
    flat = [p for row in pairs for p in row]
    tiers = _tiers(specs, config)
    columns = np.array(flat, dtype=np.int64).reshape(-1, 4)
    return Sites(
        fill_ps=np.array([t[0] for t in timing_ps], dtype=np.int64),
        interval_ps=np.array([t[1] for t in timing_ps], dtype=np.int64),
        adc_fill_ps=np.array([t[2] for t in timing_ps], dtype=np.int64),
        adc_interval_ps=np.array([t[3] for t in timing_ps], dtype=np.int64),
        buffer_bytes=np.array([row.buffer_bytes for row in rows], dtype=np.int64),
        server_ptr=servers.of_site_ptr,
        servers=servers.of_site,
        tile_ptr=_pointer([row.tiles for row in rows]),
        tiles=_flat([row.tiles for row in rows]),
        tier=tiers[:, 0].copy(),
        tier_turns=tiers[:, 1].copy(),
        in_ptr=_pointer([row.in_tiles for row in rows]),
        in_tiles=_flat([row.in_tiles for row in rows]),
        pair_ptr=_pointer(pairs),
        pair_round=columns[:, 0].copy(),
        pair_source=columns[:, 1].copy(),
        pair_target=columns[:, 2].copy(),
        pair_flits=columns[:, 3].copy(),
        out_ptr=_pointer([row.out for row in rows]),
        out_tiles=_flat([[t for t, _ in row.out] for row in rows]),
        out_flits=_flat([[f for _, f in row.out] for row in rows]),
        psum_bits=np.array([row.psum_bits for row in rows], dtype=np.int64),
        server_tile_ptr=servers.tile_ptr,
        server_tile=servers.tile,
        server_pes=servers.pes,
        in_bits=np.array([row.in_bits for row in rows], dtype=np.int64),
        out_bits=np.array([row.out_bits for row in rows], dtype=np.int64),
        pes_per_tile=config.tile.pes,
        power_nw=np.array(power_nw, dtype=np.int64),
        names=tuple(s.name for s in specs),
    )


def _tiers(specs: list[SiteSpec], config: ChipConfig) -> Int64:
    """Return tier and turns of every tile of every site, [.., 2]; none where there is one tier."""
    none = np.zeros((0, 2), dtype=np.int64)
    if config.tile.tiers == 1:
        return none
    found = [tiers_by_tile(s.crossbars, config.tile) for s in specs]
    rows = [np.stack([tier, np.where(n > 1, n, 0)], axis=1) for tier, n in found]
    return np.concatenate([none, *rows])


def _pointer(rows: Sequence[Sequence[object]]) -> Int64:
    return np.cumsum([0, *(len(r) for r in rows)], dtype=np.int64)


def _flat(rows: list[list[int]]) -> Int64:
    return np.array([x for row in rows for x in row], dtype=np.int64)


@dataclass(frozen=True)
class _Row:
    tiles: list[int]
    in_tiles: list[int]
    pairs: _Pairs
    out: list[tuple[int, int]]
    buffer_bytes: int
    psum_bits: int
    in_bits: int
    out_bits: int


class _ShapeCache:
    """Derives rows of sites, once for each shape and way of lying on tiles."""

    def __init__(self, config: ChipConfig, per_tile: int) -> None:
        self._flit_bits = config.noc.flit_bits
        self._input_bits = config.tile.input.bits
        self._per_tile = per_tile
        self._rows: dict[object, tuple[_Row, int]] = {}

    def get(self, spec: SiteSpec) -> _Row:
        """Return the row of a site, shifted from one derived before where possible."""
        tiles = crossbar_numbers(spec.crossbars) // self._per_tile
        first = int(tiles.min())
        shape = tuple((t.row_blocks, t.column_blocks) for t in spec.unit.tilings)
        key = (shape, spec.unit.vectors, spec.summed, (tiles - first).tobytes())
        if key not in self._rows:
            self._rows[key] = (self._derive(spec, tiles), first)
        row, base = self._rows[key]
        shift = first - base
        return replace(
            row,
            tiles=[t + shift for t in row.tiles],
            in_tiles=[t + shift for t in row.in_tiles],
            pairs={(r, a + shift, b + shift): f for (r, a, b), f in row.pairs.items()},
            out=[(t + shift, f) for t, f in row.out],
        )

    def _derive(self, spec: SiteSpec, tiles: Int64) -> _Row:
        grids = _grids(spec.unit.tilings, tiles)
        last = [t.matrix.id.role.endswith("down") for t in spec.unit.tilings]
        staged = any(last) and not all(last)
        first = [i for i, is_last in enumerate(last) if not (staged and is_last)]
        bits: _Pairs = {}
        in_tiles = sorted({int(t) for i in first for t in grids[i].ravel()})
        owner = grids[first[0]][0]
        out: dict[int, int] = {}
        for i in first:
            tiling = spec.unit.tilings[i]
            # Gate and up meet on the tile that owns the columns.
            mine = owner if staged else grids[i][0]
            _collect(bits, 0, tiling, grids[i], mine)
            if not staged:
                for tile, columns in zip(mine.tolist(), tiling.column_blocks, strict=True):
                    out[tile] = out.get(tile, 0) + columns * RESULT_BITS
        if staged:
            for i in (i for i, is_last in enumerate(last) if is_last):
                tiling = spec.unit.tilings[i]
                _hand_over(
                    bits, spec.unit.tilings[first[0]], owner, tiling, grids[i], self._input_bits
                )
                root = np.full(len(tiling.column_blocks), grids[i][0, 0])
                _collect(bits, 2, tiling, grids[i], root)
                tile = int(root[0])
                out[tile] = out.get(tile, 0) + tiling.matrix.n_out * RESULT_BITS
        touched = sorted(set(tiles.tolist()))
        in_bits = spec.unit.tilings[first[0]].matrix.n_in * self._input_bits
        out_bits = sum(out.values())
        share = -(-out_bits // (8 * len(touched)))
        n = spec.unit.vectors
        return _Row(
            tiles=touched,
            in_tiles=in_tiles,
            pairs={k: self._flits(n * b) for k, b in bits.items()},
            out=[(t, self._flits(n * b)) for t, b in sorted(out.items())],
            # One vector at a time: those of a token pass through the buffer in turn.
            buffer_bytes=-(-in_bits // 8) + share,
            psum_bits=n
            * sum((len(t.row_blocks) - 1) * t.matrix.n_out * PSUM_BITS for t in spec.unit.tilings),
            in_bits=n * in_bits,
            out_bits=n * out_bits,
        )

    def _flits(self, bits: int) -> int:
        return max(1, -(-bits // self._flit_bits))


def _grids(tilings: tuple[Tiling, ...], tiles: Int64) -> list[Int64]:
    """Return the tile of every fragment, [row blocks, column blocks] a matrix."""
    grids, at = [], 0
    for tiling in tilings:
        shape = (len(tiling.row_blocks), len(tiling.column_blocks))
        grids.append(tiles[at : at + tiling.crossbars].reshape(shape))
        at += tiling.crossbars
    return grids


def _collect(bits: _Pairs, round_: int, tiling: Tiling, grid: Int64, owner: Int64) -> None:
    """Add the partial sums that leave other tiles for the owners of their columns."""
    for column, width in enumerate(tiling.column_blocks):
        target = int(owner[column])
        for source in np.unique(grid[:, column]).tolist():
            if source != target:
                key = (round_, source, target)
                bits[key] = bits.get(key, 0) + width * PSUM_BITS


def _hand_over(
    bits: _Pairs, first: Tiling, owner: Int64, second: Tiling, grid: Int64, input_bits: int
) -> None:
    """Add the hidden activations that move from their owners to the second matrix's rows."""
    ends = np.cumsum([0, *first.column_blocks])
    row_ends = np.cumsum([0, *second.row_blocks])
    for row in range(len(second.row_blocks)):
        targets = np.unique(grid[row]).tolist()
        low = int(np.searchsorted(ends, row_ends[row], side="right")) - 1
        for column in range(low, len(first.column_blocks)):
            overlap = min(ends[column + 1], row_ends[row + 1]) - max(ends[column], row_ends[row])
            if overlap <= 0:
                break
            source = int(owner[column])
            for target in targets:
                if target != source:
                    key = (1, source, target)
                    bits[key] = bits.get(key, 0) + int(overlap) * input_bits
