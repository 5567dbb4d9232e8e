"""Which placement policies and which parts of the local search ever win.

Problems: every fourth layer of the reference instances and their hop placements (if a folder
is given), and the bundled models on three bundled chips: placed for calibration text on a blank
chip, and for held-out text on the chip that was placed so.

`policies`: every policy but the default on every problem that it takes. `best` counts the
problems on which no other has a lower objective, equal ones counted (within 1e-9 of it);
`alone` those where it is the only one. `over_best`: objective over the best one's, mean and
largest. The default, `auto`, stands beside them: it holds none of the others for better.
`parts`: the local search with one part left out. `worse` counts the problems whose objective
rises by that, `better` those where it falls; `change` is the mean relative change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse

from cimsim.array_file import read_archive
from cimsim.bench.mapping_chip import chip_of
from cimsim.config.load import find_chip, load_chip
from cimsim.model import Decoder, FloatLinear, build_program
from cimsim.stages.models import open_model, read_text, scored_windows, spread_windows
from cimsim.stages.placing import problem_of
from cimsim.stages.scoring import score_clean
from cimsim.zoo import bundled_models
from moe_mapping import Assignment, MappingProblem, Weights, evaluate, policies, solve
from moe_mapping.loads import read_loads, read_reference
from moe_mapping.plan import arrays_of, assignment_of
from moe_mapping.policy.local_search import PARTS, search
from moe_mapping.registry import DEFAULT
from moe_mapping.remap import remap
from moe_mapping.slots import layer_problem
from moe_mapping.table import takes, warm_up

__all__ = [
    "ablate_parts",
    "ablate_policies",
    "chip_problems",
    "reference_problems",
    "run_mapping_ablation",
]

CHIPS = ("isaac", "eflash_40nm", "sram_digital_28nm")
EVERY = 4  # layers of a reference instance
EQUAL = 1e-9
REMAP = "remap"

Row = dict[str, object]
Place = Callable[[MappingProblem], Assignment]


@dataclass(frozen=True)
class PolicyFigures:
    """The objective and the time of one policy on every problem.

    Attributes:
        value: by number of the problem; what it does not take is missing.
        seconds: of all of them together.
    """

    value: dict[int, float]
    seconds: float


def run_mapping_ablation(reference: Path | None) -> dict[str, list[Row]]:
    """Return the rows of policies and of parts.

    Args:
        reference: folder of reference instances, or None for the bundled models alone.
    """
    problems = [*(reference_problems(reference) if reference else ()), *chip_problems()]
    return {"policies": ablate_policies(problems), "parts": ablate_parts(problems)}


def reference_problems(folder: Path) -> Iterator[MappingProblem]:
    """Yield the problems of a folder with eplb_reference.csv, loads and co-activation."""
    for instance in read_reference(folder):
        table = read_loads(folder / "loads" / f"{instance.name}.csv")
        for loads in table[::EVERY]:
            yield layer_problem(loads, instance.shape)
    for path in sorted(folder.glob("coactivation_*.npz")):
        data = read_archive(path, ("load", "hops", "coact"), "reference instance")
        load, hops, flow = data["load"], data["hops"], data["coact"]
        yield MappingProblem(
            units=tuple(range(load.size)),
            layer=np.zeros(load.size, dtype=np.int64),
            crossbars=np.ones(load.size, dtype=np.int64),
            time_ps=load.astype(np.float64),
            replicable=np.zeros(load.size, dtype=np.bool_),
            traffic_bytes=sparse.csr_array(flow.astype(np.float64)),
            capacity=np.ones(len(hops), dtype=np.int64),
            hops=hops,
            weights=Weights(time=0.0, layers=0.0, hop_bytes=1.0),
        )


def chip_problems(chips: Sequence[str] = CHIPS) -> Iterator[MappingProblem]:
    """Yield the bundled models on bundled chips: blank, then placed and met by other text."""
    for name in bundled_models():
        checkpoint, texts = open_model(name), read_text(None)
        program = build_program(checkpoint)
        decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
        for chip_name in chips:
            chip = chip_of(load_chip(find_chip(chip_name)), program)
            workload, budget = chip.config.workload, chip.config.calibration.tokens
            expected, met = (
                problem_of(
                    chip.config, chip.mesh, program, chip.units, chip.cost,
                    score_clean(decoder, digital, windows).trace,
                )
                for windows in (
                    spread_windows(checkpoint, texts, budget, workload.context),
                    scored_windows(checkpoint, texts, workload),
                )
            )  # fmt: skip
            yield expected
            yield replace(met, current=solve(expected, DEFAULT))


def ablate_policies(problems: Sequence[MappingProblem]) -> list[Row]:
    """Return a row per policy, and one of the re-mapping of chips that are placed already."""
    warm_up()
    found = {name: _measure_policy(name, problems) for name in (*policies(), REMAP)}
    rivals = {name: figures for name, figures in found.items() if name != DEFAULT}
    best = [min(f.value.get(i, np.inf) for f in rivals.values()) for i in range(len(problems))]
    return [_policy_row(name, figures, best, rivals) for name, figures in found.items()]


def ablate_parts(problems: Sequence[MappingProblem]) -> list[Row]:
    """Return a row a part of the local search that is left out."""
    warm_up()
    numbered = dict(enumerate(problems))
    whole = _measure(_searched(""), numbered)
    rows: list[Row] = []
    for part in PARTS:
        without = _measure(_searched(part), numbered)
        change = np.array([without.value[i] / whole.value[i] - 1.0 for i in whole.value])
        rows.append({
            "without": part,
            "problems": change.size,
            "worse": int((change > EQUAL).sum()),
            "better": int((change < -EQUAL).sum()),
            "change": float(change.mean()),
            "seconds": without.seconds,
            "seconds_whole": whole.seconds,
        })  # fmt: skip
    return rows


def _measure_policy(policy: str, problems: Sequence[MappingProblem]) -> PolicyFigures:
    if policy == REMAP:
        placed = {i: p for i, p in enumerate(problems) if p.current is not None}
        return _measure(lambda problem: remap(problem).assignment, placed)
    taken = {i: p for i, p in enumerate(problems) if takes(policy, p)}
    return _measure(lambda problem: solve(problem, policy), taken)


def _searched(without: str) -> Place:
    def place(problem: MappingProblem) -> Assignment:
        fixed = arrays_of(problem)
        return assignment_of(fixed, search(problem, fixed, 0, without=without))

    return lambda problem: solve(problem, lambda inner, _: place(inner))


def _measure(place: Place, problems: Mapping[int, MappingProblem]) -> PolicyFigures:
    started = perf_counter()
    found = {number: place(problem) for number, problem in problems.items()}
    seconds = perf_counter() - started
    return PolicyFigures({i: evaluate(problems[i], a).value for i, a in found.items()}, seconds)


def _policy_row(
    name: str, figures: PolicyFigures, best: Sequence[float], rivals: dict[str, PolicyFigures]
) -> Row:
    def is_best(rival: PolicyFigures, number: int) -> bool:
        return rival.value.get(number, np.inf) <= best[number] * (1.0 + EQUAL)

    won = [i for i in figures.value if is_best(figures, i)]
    others = [f for rival, f in rivals.items() if rival != name]
    ratio = np.array([v / best[i] for i, v in figures.value.items()])
    return {
        "policy": name,
        "problems": ratio.size,
        "best": len(won),
        "alone": sum(not any(is_best(f, i) for f in others) for i in won),
        "over_best_mean": float(ratio.mean()) if ratio.size else None,
        "over_best_most": float(ratio.max()) if ratio.size else None,
        "seconds": figures.seconds,
    }
