"""``cimsim.compare``: as much of every chip as makes all equal in area, throughput or power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cimsim.api.bars import RunBar
from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chips, chips_of
from cimsim.api.overrides import Overrides, set_texts
from cimsim.api.run import PLAIN, FinishedRun, folder_for, request_for
from cimsim.api.run_options import RunOptions
from cimsim.config.load import parse_chip
from cimsim.config.open_chip import open_chip
from cimsim.errors import CimsimError
from cimsim.results import RunResults
from cimsim.results.scale_rows import DECODE
from cimsim.session import Listener, run_plan
from cimsim.stages.compare import Comparison, compare_chips
from cimsim.stages.contender_spreads import spreads_of
from cimsim.stages.contenders import Contender, Iso, contenders
from cimsim.stages.cost_spread import Spread
from cimsim.stages.plan import Request, RunPlan, make_plan
from cimsim.stages.scale import DECODE_BATCHES
from cimsim.stages.shapes import open_shape
from cimsim.workload.program import Program

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SHORT_TOKENS", "Compared", "compare", "run_contenders", "short_plan"]

SHORT_TOKENS = 512
SHOWN = (
    "config", "copies", "area_mm2", "power_w", "tokens_per_s", "energy_per_token_nj", "tpot_us",
    "ppl_mean", "destroyed", "pareto",
)  # fmt: skip


@dataclass(frozen=True)
class Compared(CallResult):
    """Chips on equal terms.

    Attributes:
        comparison: everything behind the figures.
        program: shape that the chips decode.
    """

    comparison: Comparison
    program: Program

    @property
    def title(self) -> str:
        """What is equal, and the reference."""
        c = self.comparison
        return f"equal {c.iso}, one copy of {c.reference}; decode at {c.shape}, batch {c.batch}"

    @property
    def notes(self) -> Sequence[str]:
        """What forbids or limits a ranking."""
        return self.comparison.warnings

    def to_frame(self) -> DataFrame:
        """Return a row per chip."""
        return self.comparison.frame()

    def pairs(self) -> DataFrame:
        """Return the change of the loss against the reference, in pairs of chip seeds."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        return DataFrame(list(self.comparison.pairs))

    def beside(self, *baselines: str) -> Compared:
        """Return the same with digital baselines beside the chips.

        Args:
            baselines: h200, a100, tpu_v4i, or files.

        Raises:
            CimsimError: if a baseline does not exist or its file does not hold one.
        """
        return replace(self, comparison=self.comparison.beside(baselines, self.program))

    def baselines(self) -> DataFrame:
        """Return a row per baseline and batch, with what it rests on."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        return DataFrame([b.as_dict() for b in self.comparison.baselines])

    def shown(self) -> DataFrame:
        """Return the main columns."""
        return self.to_frame()[list(SHOWN)]


def compare(
    chips: Chips | FinishedRun,
    *,
    iso: Iso = "area",
    reference: str | None = None,
    node_nm: float | None = None,
    batch: int = 32,
    overrides: Overrides | None = None,
    options: RunOptions = PLAIN,
    progress: bool | None = None,
) -> Compared:
    """Take as much of every chip as equals the first; what ``cimsim compare`` does.

    Args:
        chips: at least two chips, which are run briefly (512 scored tokens, unless `overrides`
            says otherwise); or what `cimsim.run` returned: nothing is simulated again.
        iso: what is made equal: area, throughput or power.
        reference: chip of which one copy is taken; None takes the first.
        node_nm: scale figures to this node, as digital logic scales; None scales nothing.
        batch: sequences that a copy decodes at once: 1 or 32.
        overrides: knobs of every chip.
        options: processes, cache and the like.
        progress: whether a bar is drawn; None draws in notebooks and on terminals.

    Raises:
        CimsimError: if there are fewer than two chips, or knobs are set on a run that is over.
    """
    if isinstance(chips, FinishedRun):
        if overrides:
            raise CimsimError("has no effect on a run that is over", key="overrides")
        files = _files_of(chips.results)
        ran = parse_chip(next(iter(files.values())), "config.resolved.yaml")
        program = open_shape(ran.workload.shape)
        found = _from(chips.results, program.name, batch)
        spreads = spreads_of(found, files)
    else:
        knobs = (f"workload.tokens={SHORT_TOKENS}", *set_texts(overrides))
        request = request_for(chips, "olmoe-tiny", None, None, knobs, options)
        program = open_shape(open_chip(chips_of(chips)[0], knobs).workload.shape)
        with folder_for(None) as folder:
            plan = short_plan(replace(request, out=folder), batch)
            with RunBar(plan, shown=progress) as bar:
                found, spreads = run_contenders(plan, program.name, batch, bar, report=False)
    comparison = compare_chips(found, iso, reference=reference, node_nm=node_nm, spreads=spreads)
    return Compared(comparison, program)


def short_plan(request: Request, batch: int) -> RunPlan:
    """Check what a comparison would run.

    Raises:
        CimsimError: if there are fewer than two chips, or the batch is not simulated.
    """
    if len(request.chips) < 2:
        named = ", ".join(map(str, request.chips))
        raise CimsimError("a comparison needs at least two chips", value=named)
    if batch not in DECODE_BATCHES:
        allowed = ", ".join(map(str, DECODE_BATCHES))
        raise CimsimError("is not simulated", key="--batch", value=batch, allowed=allowed)
    return make_plan(request)


def run_contenders(
    plan: RunPlan,
    shape: str,
    batch: int,
    listener: Listener,
    *,
    report: bool,
    phase: str = DECODE,
) -> tuple[list[Contender], dict[str, Spread]]:
    """Run the chips of a comparison and return what takes part in it, and its draws.

    Args:
        plan: the short run.
        shape: full-size model.
        batch: sequences at once.
        listener: hears how the run goes.
        report: whether its folder is kept, and so gets a report.
        phase: decode, or decode with an off-chip memory that transfers in no time.
    """
    results = run_plan(plan, listener, report=report)
    found = _from(results, shape, batch, phase)
    return found, spreads_of(found, _files_of(results))


def _files_of(results: RunResults) -> dict[str, str]:
    """Return the resolved chip files of a run by the name of the chip."""
    return {str(chip.row["config"]): chip.config_yaml for chip in results.chips}


def _from(results: RunResults, shape: str, batch: int, phase: str = DECODE) -> list[Contender]:
    tables = results.tables()
    names = [str(chip.row["config"]) for chip in results.chips]
    rows = (tables["results"], tables["scale"], tables["per_seed"])
    return contenders(*rows, names, shape, batch, phase)
