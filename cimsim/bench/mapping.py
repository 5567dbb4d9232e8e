"""What expert placement gains in the engine, not only on paper.

A chip on which a tile is the critical resource holds every expert once and a quarter more:
tiles of one PE (so that a tile is one server, as the mapping objective takes it to be) with
four expert slots each, 25 % spare slots, digital units, buffers and links wide enough never
to be the slowest. Packets do not wait for links unless a row says `noc: packet`.

`olmoe_zipf`: the OLMoE-1B-7B shape, 16 layers x 64 experts, top-8, Zipf 1.2 popularity;
    placed from one half of a trace and timed on the other. Saturated tokens/s in decode (a
    closed loop of 512 streams) of `auto` and of round robin, which also fills the spare
    slots; then p99 token latency under Poisson arrivals of requests of 16 tokens at 80 % of
    round robin's saturation rate: in prefill, where a request's tokens come together, and
    in decode, where each follows the one before it. `least_loaded`: the same where tokens of
    both placements go to the least loaded copy. Beside decode's p99, what placement leaves
    no way below: `alone`, visits that never wait; and `even`, visits that wait as at a
    single server with Poisson arrivals and this load, spread over all tiles evenly.
`bundled`: the bundled models on their own traces, from a clean decoder run over held-out
    text: placed from the trace that is timed, and (`placed_from_calibration_text`) from
    windows of other text, as a run does. `prefill`: all windows enter at once, so that all
    tokens are in one layer, then in the next.
`chips`: bundled chips as they are, placed as a run does and timed on held-out text in the
    phases of a run: often attention, links or digital units are the slowest there.

Rates: `tokens_per_s` of `olmoe_zipf` between a quarter and three quarters of the completions,
where as much is in flight at the end as at the start; of text, whose loads change along the
way, all tokens over the makespan, as of `prefill`.
Predicted gain: slowest-tile time of round robin over that of `auto` under the loads that are
timed; `predicted_gain_before` under those that were placed for. `share_of_bound`: the
objective's lower bound of the slowest tile over the makespan of `auto`, filling and
draining included.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cimsim.bench.mapping_chip import (
    POLICIES,
    BenchChip,
    chip_of,
    p99_us,
    place_on,
    problem_of,
    run_on,
    saturate,
    slot_chip,
)
from cimsim.config.load import find_chip, load_chip
from cimsim.model import Decoder, FloatLinear, build_program
from cimsim.stages.models import open_model, read_text, scored_windows, spread_windows
from cimsim.stages.scoring import score_clean
from cimsim.units import PS_PER_S
from cimsim.workload.arrivals import poisson_arrivals_ps
from cimsim.workload.shapes import shape_program
from cimsim.workload.synthetic import Popularity, synthetic_trace
from cimsim.workload.trace import RoutingTrace
from cimsim.zoo import bundled_models

__all__ = ["run_mapping_bench"]

SEQUENCES, LENGTH = 512, 16  # of the Zipf traces, for placing and for timing each
ZIPF = 1.2
SEEDS = (0, 1, 2)
LOAD = 0.8  # of round robin's saturation rate
BUNDLED_TOKENS, CONTEXT = 4096, 128
CHIPS = ("isaac", "eflash_40nm", "sram_digital_28nm")
QUEUE = "queue"  # the part of a latency that placement can change
EVEN_VISITS = 1 << 20  # drawn for the waits of an evenly loaded chip


def run_mapping_bench() -> dict[str, object]:
    """Return the engine's figures of `auto` beside round robin, and what was predicted."""
    started = perf_counter()
    zipf = [_zipf(seed, "none") for seed in SEEDS]
    least = [_zipf(seed, "none", "least_loaded") for seed in SEEDS]
    return {
        "olmoe_zipf": {
            "tokens": SEQUENCES * LENGTH,
            "zipf": ZIPF,
            **_extremes(zipf),
            "by_seed": zipf,
            "noc_packet": _zipf(SEEDS[0], "packet"),
            "least_loaded": {**_extremes(least), "by_seed": least},
        },
        "bundled": {name: _bundled(name) for name in bundled_models()},
        "chips": {
            chip: {name: _bundled_chip(chip, name) for name in bundled_models()} for chip in CHIPS
        },
        "bundled_tokens": BUNDLED_TOKENS,
        "seconds": perf_counter() - started,
    }


def _extremes(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the figures that targets are about, of the worst seed."""
    return {
        "throughput_gain_least": min(row["throughput_gain"] for row in rows),
        "prefill_p99_ratio_most": max(row["prefill_p99_ratio"] for row in rows),
        "decode_p99_ratio_most": max(row["decode_p99_ratio"] for row in rows),
        "decode_p99_even_ratio_most": max(row["decode_p99_even_ratio"] for row in rows),
        "decode_p99_alone_ratio_most": max(row["decode_p99_alone_ratio"] for row in rows),
        "prediction_error_most": max(abs(row["prediction_error"]) for row in rows),
    }


def _zipf(seed: int, contention: str, choice: str = "static") -> dict[str, float]:
    """Return throughput and latency of one trace of the OLMoE shape."""
    chip = slot_chip(shape_program("olmoe-1b-7b"), contention, choice)
    trace = synthetic_trace(
        chip.program,
        sequences=2 * SEQUENCES,
        length=LENGTH,
        popularity=Popularity(skew=ZIPF),
        seed=seed,
    )
    before, timed = _half(trace, 0), _half(trace, 1)
    placed = {policy: place_on(chip, before, policy) for policy in POLICIES}
    row = {"seed": seed, **saturate(chip, placed, timed, stationary=True)}
    streams_per_s = LOAD * row["round_robin_tokens_per_s"] / LENGTH
    arrivals = poisson_arrivals_ps(SEQUENCES, streams_per_s, seed)
    for phase in ("prefill", "decode"):
        runs = {policy: run_on(chip, placed[policy], timed, phase, arrivals) for policy in POLICIES}
        p99 = {policy: p99_us(run.latency_ps) for policy, run in runs.items()}
        row |= {f"{policy}_{phase}_p99_us": value for policy, value in p99.items()}
        row[f"{phase}_p99_ratio"] = p99["auto"] / p99["round_robin"]
    run = runs["auto"]  # of decode
    alone_ps = run.latency_ps - run.parts_ps[:, run.parts.index(QUEUE)]
    load = float(problem_of(placed["auto"]).time_ps.sum()) / before.n_tokens
    load *= streams_per_s * LENGTH / chip.mesh.n_tiles / PS_PER_S
    even_ps = alone_ps + _even_queue_ps(chip, load, len(alone_ps), seed)
    row |= {
        "load": load,
        "decode_p99_alone_ratio": p99_us(alone_ps) / p99["round_robin"],
        "decode_p99_even_ratio": p99_us(even_ps) / p99["round_robin"],
    }
    return row


def _even_queue_ps(chip: BenchChip, load: float, tokens: int, seed: int) -> NDArray[np.float64]:
    """Return what tokens wait on a chip whose tiles are all equally busy, [tokens].

    Every visit waits as in an M/D/1 queue (Lindley's recursion over drawn arrivals); a layer
    waits for the slowest of its visits, which are drawn independently of each other.
    """
    draw = np.random.Generator(np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)))
    step = 1.0 - draw.exponential(1.0 / load, EVEN_VISITS)
    walk = np.cumsum(step)
    waits = walk - np.minimum.accumulate(np.minimum(walk, 0.0))
    layers = len(chip.program.moe_layers)
    drawn = waits[draw.integers(0, EVEN_VISITS, (tokens, layers, chip.program.top_k))]
    interval_ps = chip.cost.visit_timing(chip.units[0]).interval_ps
    total: NDArray[np.float64] = drawn.max(axis=2).sum(axis=1) * interval_ps
    return total


def _bundled(name: str) -> dict[str, object]:
    """Return throughput of one bundled model under the routing of its own clean run."""
    checkpoint, texts = open_model(name), read_text(None)
    program = build_program(checkpoint)
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    chip = slot_chip(program, "none")
    workload = chip.config.workload.model_copy(
        update={"tokens": BUNDLED_TOKENS, "context": CONTEXT}
    )
    other = spread_windows(checkpoint, texts, BUNDLED_TOKENS, CONTEXT)
    timed = scored_windows(checkpoint, texts, workload)
    unseen, own = (score_clean(decoder, digital, windows).trace for windows in (other, timed))
    rows = [
        saturate(
            chip, {policy: place_on(chip, trace, policy) for policy in POLICIES}, own,
            stationary=False,
        )
        for trace in (own, unseen)
    ]  # fmt: skip
    return {
        **rows[0],
        "placed_from_calibration_text": rows[1],
    }


def _bundled_chip(chip_name: str, name: str) -> dict[str, object]:
    """Return the gain on a bundled chip as it is, in the phases of a run."""
    checkpoint, texts = open_model(name), read_text(None)
    chip = chip_of(load_chip(find_chip(chip_name)), build_program(checkpoint))
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    workload, budget = chip.config.workload, chip.config.calibration.tokens
    windows = spread_windows(checkpoint, texts, budget, workload.context)
    unseen = score_clean(decoder, digital, windows).trace
    timed = score_clean(decoder, digital, scored_windows(checkpoint, texts, workload)).trace
    placed = {policy: place_on(chip, unseen, policy) for policy in POLICIES}
    row: dict[str, object] = {}
    for phase in ("prefill", "decode"):
        batch = max(chip.config.run.decode_batch)
        runs = {
            policy: run_on(chip, placed[policy], timed, phase, batch=batch) for policy in POLICIES
        }
        row[f"{phase}_gain"] = runs["round_robin"].makespan_ps / runs["auto"].makespan_ps
        p99 = {policy: p99_us(run.latency_ps) for policy, run in runs.items()}
        row[f"{phase}_p99_ratio"] = p99["auto"] / p99["round_robin"]
        row[f"{phase}_critical"] = runs["auto"].critical_resource
    return row


def _half(trace: RoutingTrace, half: int) -> RoutingTrace:
    """Return the first (0) or second (1) half of a trace of whole sequences."""
    middle = trace.n_tokens // 2
    part = slice(half * middle, (half + 1) * middle)
    return replace(
        trace,
        experts=trace.experts[part],
        sequence=trace.sequence[part],
        position=trace.position[part],
    )
