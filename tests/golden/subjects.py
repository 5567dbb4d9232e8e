"""What the golden net covers: a subject per file of `values/`, computed through `product.py`."""

from __future__ import annotations

import json
import lzma
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.golden import product, product_engine
from tests.golden.rows import Row, Values, digest, flat, golden_table, table_rows

__all__ = ["SUBJECTS", "Subject", "timed"]

CASES = Path(__file__).parent / "cases"
SIMPY_EVERY = 4
"""Every so many stored plans run on the slow engine too."""

WORKLOAD = (
    "workload.tokens=64", "workload.context=16", "workload.in_flight=2", "calibration.tokens=256",
    "run.chip_seeds=1", "run.flight_tokens=8", "run.decode_batch=[4]",
)  # fmt: skip
LATENCY_SAMPLES = (*WORKLOAD, "workload.tokens=128", "run.chip_seeds=2")
"""Enough tokens for a 99th percentile, and two chips for an interval."""
NOISY = "eflash_40nm"
STRESSED = {
    "replace_e1": ("replace_e1@0.9",),
    "replace_e2": ("replace_e2@0.9",),
    "replace_e2_split": ("replace_e2_split@0.9",),
    "average_copies": ("average_copies", "chip.spare_fraction=3.0"),
}
"""What makes a step do something on so small a model: its number, or room for copies."""
COUPLED = "run.coupling=coupled"
FLIT = "noc.level=flit"
PACKET = "noc.level=packet"
SMALL_TILE = ("tile.pes=1", "tile.pe.crossbars=4")
"""So small that the experts of the tiny model do not fit, and are switched."""
VARIANTS = {
    "coupled/eflash_40nm": ("eflash_40nm", COUPLED),
    "coupled/pcm_14nm": ("pcm_14nm", COUPLED),
    "coupled/lru": ("reram_switching", "chip.tiles=8", *SMALL_TILE),
    "coupled/pinned": ("reram_switching", "chip.tiles=10", "chip.switching=pinned", *SMALL_TILE),
    "flit/hermes": ("hermes", FLIT),
    "flit/neurram": ("neurram", FLIT),
    "flit/sram_switching_28nm": ("sram_switching_28nm", FLIT),
    "other/folded": ("eflash_40nm", "run.tile_mode=folded"),
    "other/least_loaded": ("eflash_40nm", "mapping.replica_choice=least_loaded"),
    "other/lru": ("sram_switching_28nm", "chip.tiles=8", *SMALL_TILE),
    "other/prefetch": (
        "sram_switching_28nm",
        "chip.tiles=9",
        "chip.switching=prefetch",
        PACKET,
        *SMALL_TILE,
    ),
    "other/round_robin": ("hermes", "mapping.policy=round_robin"),
    "other/two_chips": ("neurram", "system.chips=2"),
}
"""Run of the tiny model: chip, then what it is told beyond the workload."""
MODELS = {
    "isaac": ("isaac", "olmoe-tiny"),
    "hermes": ("hermes", "qwen-moe-tiny"),
    "raella": ("raella", "deepseek-moe-tiny"),
}
IDEAL = {
    "isaac": ("isaac", "tile.device={kind: ideal}"),
    "sram_digital_28nm": ("sram_digital_28nm",),
    "float": ("npu_hbm",),
}
COMMANDS = {
    "published": ("cimsim", "published"),
    "noc mesh": ("cimsim", "noc", "--mesh", "4x4", "--rates", "0.05,0.3", "--runs", "1"),
    "noc torus": ("cimsim", "noc", "--mesh", "4x4", "--topology", "torus", "--traffic", "tornado",
                  "--flits", "3", "--rates", "0.1", "--runs", "1"),
    "noc cmesh": ("cimsim", "noc", "--mesh", "2x2", "--topology", "cmesh", "--traffic", "hotspot",
                  "--hotspots", "3:0.3", "--rates", "0.05", "--runs", "1"),
    "tile eflash_40nm": ("cimsim", "tile", "eflash_40nm", "--rows", "64", "--cols", "8",
                         "--tokens", "8"),
    "serve hermes": ("cimsim", "serve", "hermes", "--requests", "20", "--length", "3", "--loads",
                     "0.4,0.9", "--batch", "4"),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A part of the product whose results are stored.

    Attributes:
        name: of its file in `values/`, without ending.
        compute: today's values.
    """

    name: str
    compute: Callable[[], Values]


def _chip(name: str) -> Values:
    """Every table of a chip in trace mode with the tiny model."""
    with product.tiny_model() as model, product.small_shape():
        return table_rows(product.chip_tables([name], model, [*LATENCY_SAMPLES]))


def _variants(kind: str) -> Values:
    found: Values = {}
    with product.tiny_model() as model, product.small_shape():
        for name, (chip, *more) in VARIANTS.items():
            if name.startswith(f"{kind}/"):
                tables = product.chip_tables([chip], model, [*WORKLOAD, *more])
                wanted = ("results", "per_seed", "per_layer", "expert_load", "latency")
                rows = table_rows({n: rows for n, rows in tables.items() if _is(n, *wanted)})
                found |= {f"{name.split('/')[1]} {row}": value for row, value in rows.items()}
    return found


def _model(name: str) -> Values:
    """A bundled model on a chip, isaac's at the full size of scale.csv."""
    chip, model = MODELS[name]
    shape = product.full_size() if name == "isaac" else product.small_shape()
    with shape:
        tables = product.chip_tables([chip], model, [*WORKLOAD])
    long = ("tile_load", "expert_load", "resources")
    return table_rows({n: rows for n, rows in tables.items() if not _is(n, *long)})


def _calibration() -> Values:
    """What every method does to a noisy chip, and every step that is kept whatever it does."""
    found: Values = {}
    with product.tiny_model() as model, product.small_shape():
        for method in product.methods():
            sets = [*WORKLOAD, f"calibration.method={method}"]
            found[method] = _calibrated(product.chip_tables([NOISY], model, sets))
        for step in product.steps():
            told, *more = STRESSED.get(step, (step,))
            verdicts, tables = product.corrected(NOISY, model, told, [*WORKLOAD, *more])
            found[f"step {step}"] = _calibrated(tables) | {"verdicts": len(verdicts)}
            for verdict in verdicts:
                found[f"step {step}"] |= verdict
    return found


def _calibrated(tables: dict[str, Any]) -> Row:
    """Return the results that a calibration can change."""
    (row,) = table_rows({name: rows for name, rows in tables.items() if _is(name, "results")})
    results = table_rows(tables)[row]
    return {
        name: value for name, value in results.items() if "calibrat" in name or "correction" in name
    }


def _placements(model: str | None) -> Values:
    found: Values = {}
    with product.tiny_model() as tiny:
        for chip in product.runnable_chips():
            copies = product.placement_of(chip, model or tiny, [*WORKLOAD])
            if model is None:
                found |= {f"{chip} {unit} {copy}": {"crossbars": _ranges(at)}
                          for unit, copy, at in copies}  # fmt: skip
            found[f"{chip} all"] = {
                "copies": len(copies),
                "crossbars": sum(len(at) for _, _, at in copies),
                "digest": digest(copies),
            }
    return found


def _conversions() -> Values:
    found: Values = {}
    with product.tiny_model() as model:
        for chip in product.runnable_chips():
            counted = product.conversions(chip, model, [*WORKLOAD])
            for (phase, unit), (vectors, conversions) in counted.items():
                row = found.setdefault(f"{chip} {unit}", {})
                row |= {f"vectors_{phase}": vectors, f"conversions_{phase}": conversions}
    return found


def _routing() -> Values:
    """Experts of every token: MoE layers are divided by a bar."""
    found: Values = {}
    with product.tiny_model() as model:
        for name, (chip, *more) in IDEAL.items():
            experts = product.routing_of(chip, model, [*WORKLOAD, *more])
            for token, layers in enumerate(experts.tolist()):
                text = " | ".join(" ".join(map(str, chosen)) for chosen in layers)
                found[f"{name} token {token:03d}"] = {"experts": text}
    return found


def _engine() -> Values:
    found: Values = {}
    for number, case in enumerate(_cases("engine")):
        engines = ["compiled"] if number % SIMPY_EVERY else ["compiled", "simpy"]
        if case["config"]["noc"]["level"] == "flit":
            engines = ["simpy"]
        for engine in engines:
            row, arrays = product_engine.replay(case, engine)
            digests = {f"digest_{name}": digest(rows) for name, rows in arrays.items()}
            found[f"plan {number:03d} {engine}"] = {**row, **digests}
    return found


def _mapping() -> Values:
    found: Values = {}
    for number, case in enumerate(_cases("mapping")):
        for policy in product.policies():
            if policy == "exact" and not case["exact"]:
                continue
            answer = product.solved(case, policy)
            row: Row = {"digest": "refused"}
            if answer is not None:
                copies, parts = answer
                row = {"digest": digest(copies), **parts}
            found[f"problem {number:02d} {policy}"] = row
    return found


def _commands() -> Values:
    found: Values = {}
    for name, (program, *arguments) in COMMANDS.items():
        answer = json.loads(product.command(program, *arguments, "--json"))
        found |= {f"{name} {row}".strip(): value for row, value in flat(answer).items()}
    for chip in product.published_chips():
        answer = json.loads(product.command("cimsim", "peak", chip, "--json"))
        found |= {f"peak {chip} {row}": value for row, value in flat(answer).items()}
    return found


def _cases(name: str) -> list[dict[str, Any]]:
    with lzma.open(CASES / f"{name}.json.xz", "rt", encoding="utf-8") as lines:
        cases: list[dict[str, Any]] = json.load(lines)
        return cases


def _is(table: str, *names: str) -> bool:
    return golden_table(table) in names


def _ranges(numbers: list[int]) -> str:
    """Return numbers in their order, runs of rising ones as `first-last`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _subjects() -> Iterator[Subject]:
    # The long ones first: two workers end together.
    yield Subject("calibration", _calibration)
    for model in MODELS:
        yield Subject(f"model_{model}", partial(_model, model))
    yield Subject("placements_olmoe", partial(_placements, "olmoe-tiny"))
    yield Subject("mapping", _mapping)
    yield Subject("engine", _engine)
    yield Subject("commands", _commands)
    for kind in sorted({name.split("/")[0] for name in VARIANTS}):
        yield Subject(f"runs_{kind}", partial(_variants, kind))
    yield Subject("placements_tiny", partial(_placements, None))
    yield Subject("conversions", _conversions)
    yield Subject("routing", _routing)
    for chip in product.runnable_chips():
        yield Subject(f"chip_{chip}", partial(_chip, chip))


SUBJECTS: dict[str, Subject] = {subject.name: subject for subject in _subjects()}
"""Every subject by name."""


def timed(name: str) -> tuple[str, Values, float]:
    """Return a subject's name, its values, and the processor seconds that they took."""
    started = time.process_time()
    return name, SUBJECTS[name].compute(), time.process_time() - started
