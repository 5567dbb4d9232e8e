"""``python -m romer``: calibrate a deployed model, and the study of what calibration gains."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.entry import new_app, run_app
from cimsim.cli.options import Cluster, Device, Plugins, load

if TYPE_CHECKING:
    from romer.calibration import Calibrated

__all__ = ["main"]

app = new_app("Calibrate mixture-of-experts models on noisy chips, after programming.")

MANY_CHIPS = 10  # of the paper's table

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a knob, as in cimsim run."),
]


@app.command()
def calibrate(
    config: Annotated[str, typer.Argument(help="Chip file, or the name of a bundled chip.")],
    out: Annotated[Path, typer.Option(help="Where to write the correction (safetensors).")],
    model: Annotated[str, typer.Option(help="Bundled model or Hugging Face folder.")] = (
        "olmoe-tiny"
    ),
    overrides: Overrides = None,
    plugins: Plugins = None,
    device: Device = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="UTF-8 text to calibrate on, not the bundled one; empty lines part documents."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Chip seed; a correction fits one chip only.")
    ] = 0,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Calibration tokens (default: the chip file's).")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Method, or steps joined by '+' (default: the chip file's)."),
    ] = None,
    unguarded: Annotated[
        bool, typer.Option("--unguarded", help="Keep every step, even one that does harm.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Calibrate one chip and write its correction, for `cimsim run --correction`."""
    from cimsim.api.calibrate import calibrate as find_correction
    from cimsim.errors import CimsimError

    load(plugins)
    if not out.parent.is_dir():
        raise CimsimError("no such folder", file=out.parent, key="--out")
    found = find_correction(
        config,
        model=model,
        text=text,
        chip_seed=seed,
        tokens=tokens,
        method=method,
        guarded=not unguarded,
        overrides=_knobs(overrides, device),
    )
    for warning in found.warnings:
        _say(f"warning: {warning}")
    found.save(out)
    _show(found.found, out, as_json)
    _say(
        f"it fits chip seed {seed} of {found.chip} alone, as no two chips err alike"
        + (": apply it with --set run.chip_seeds=1" if seed == 0 else "")
    )


def _show(found: Calibrated, out: Path, as_json: bool) -> None:
    if as_json:
        rows = [{**asdict(v), "marginal": v.marginal} for v in found.verdicts]
        print(json.dumps({"digest": found.correction.digest(), "steps": rows}, indent=1))
        return
    for v in found.verdicts:
        print(v.sentence())
    if found.correction.is_identity:
        print("nothing helped: the correction is the identity")
    print(f"written: {out}")


@app.command()
def replicas(
    config: Annotated[str, typer.Argument(help="Chip file, or the name of a bundled chip.")],
    model: Annotated[str, typer.Option(help="Bundled model or Hugging Face folder.")] = (
        "olmoe-tiny"
    ),
    overrides: Overrides = None,
    plugins: Plugins = None,
    batch: Annotated[int, typer.Option(min=1, help="Sequences decoded at once.")] = 64,
    context: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 32,
    skew: Annotated[
        float | None,
        typer.Option(min=0, help="Zipf exponent of a synthetic routing (default: the model's)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure what copies of busy units in idle crossbars do to latency."""
    from cimsim.config.load import find_chip, load_chip
    from cimsim.stages.compute import open_compute
    from romer.study.replicas import measure_replicas
    from romer.study.subject import CleanModel

    load(plugins)
    chip = load_chip(find_chip(config), tuple(overrides or ()))
    subject = CleanModel(model, context, open_compute(chip.run))
    for warning in subject.checkpoint.warnings:
        _say(f"warning: {warning}")
    found = measure_replicas(chip, subject, batch=batch, context=context, skew=skew)
    if as_json:
        print(json.dumps({**asdict(found), "p99_reduction": found.reduction}, indent=1))
        return
    routing = "the model's own routing" if skew is None else f"synthetic routing, Zipf {skew:g}"
    print(
        f"{routing}, expert load CV {found.load_cv:.2f}; {found.crossbars} crossbars, further "
        f"copies of {found.expert_copies} experts and {found.dense_copies} dense blocks; decode, "
        f"{found.batch} sequences"
    )
    for name, unit, (before, after) in (
        ("p99 of the time per output token", "us", found.p99_us),
        ("busiest tile over the mean", "x", found.tile_max_mean),
        ("energy per token", "nJ", found.energy_nj),
    ):
        print(f"{name}: {before:.4g} -> {after:.4g} {unit} ({after / before - 1.0:+.1%})")


@app.command()
def gap(
    config: Annotated[str, typer.Argument(help="Chip file, or the name of a bundled chip.")],
    model: Annotated[str, typer.Option(help="Bundled model or Hugging Face folder.")] = (
        "olmoe-tiny"
    ),
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", help="A method, or steps joined by '+'; may repeat."),
    ] = None,
    chips: Annotated[int, typer.Option(min=1, help="Chip seeds 0, 1, ...")] = 3,
    tokens: Annotated[int, typer.Option(min=512, help="Scored tokens.")] = 8192,
    overrides: Overrides = None,
    plugins: Plugins = None,
    device: Device = None,
) -> None:
    """Measure which share of the gap to the float model calibrating closes, in nats."""
    from cimsim.config.load import find_chip, load_chip
    from cimsim.stages.compute import open_compute
    from romer.study.gap import measure_gaps
    from romer.study.subject import CleanModel

    load(plugins)
    chip = load_chip(find_chip(config), _knobs(overrides, device))
    subject = CleanModel(model, chip.workload.context, open_compute(chip.run), tokens)
    wanted = tuple(methods or ("recommended", "trim_columns", "romer_plus"))
    found = measure_gaps(chip, subject, wanted, range(chips), chip.calibration.tokens)
    mean = sum(found[0].gap_nats) / chips
    print(f"{model} on {chip.name}: gap {mean:.4f} nats, {chips} chips, {tokens} tokens")
    for one in found:
        share = one.share
        sure = f" [{100 * share.low:.1f}, {100 * share.high:.1f}]" if chips > 1 else ""
        print(f"{one.method}: {100 * share.mean:.1f} %{sure} closed; {one.parts()}")


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder of the study; a started one is resumed.")],
    plan: Annotated[
        Path | None, typer.Option(help="Plan to carry out (default: the bundled one).")
    ] = None,
    chips: Annotated[
        int | None, typer.Option(min=2, help="Test chips per cell, at most (default: the plan's).")
    ] = None,
    reduced: Annotated[
        bool, typer.Option("--reduced", help="The plan's reduced version: a few minutes.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, each of one thread.")] = 1,
    cluster: Cluster = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no measurement after so many seconds; run again to go on."),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder that holds the plan's models that are not bundled.")
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(help="map.csv of the same plan whose cells are not measured; may repeat."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Instead of the plan, the paper's table of this model or folder."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="With --model: UTF-8 text to score (default: bundled).")
    ] = None,
    config: Annotated[
        str, typer.Option("--chip", help="With --model: chip file, or a bundled chip.")
    ] = "eflash_40nm",
    sigmas: Annotated[
        list[float] | None,
        typer.Option("--sigma", help="With --model: error of a weight in LSB; may repeat."),
    ] = None,
    temperatures: Annotated[
        list[float] | None,
        typer.Option("--temperature", help="With --model: degrees C of the chip; may repeat."),
    ] = None,
    overrides: Overrides = None,
    device: Device = None,
) -> None:
    """Measure what calibration gains: on the bundled models as the plan says, or on one model."""
    if model is not None:
        axes = {"tile.device.sigma_lsb": sigmas, "technology.temperature_c": temperatures}
        knobs = _knobs(overrides, device)
        _table(out, model, text, config, axes, knobs, chips or MANY_CHIPS)
        return
    from romer.study.map_plan import is_map, read_map
    from romer.study.map_run import MapStudy
    from romer.study.plan import read_plan
    from romer.study.run import Study

    found: Study | MapStudy
    if is_map(plan):
        wide = read_map(plan, reduced=reduced, chips=chips, device=device)
        found = MapStudy(
            wide, out, models_dir=models_dir, known=known or (), jobs=jobs, cluster=cluster,
            seconds=seconds, say=_say,
        )  # fmt: skip
    else:
        if known:
            from cimsim.errors import CimsimError

            raise CimsimError("is of plans of a map", key="--known", hint="see docs/models.md")
        wanted = read_plan(plan, reduced=reduced, chips=chips)
        found = Study(
            wanted, out, models_dir=models_dir, jobs=jobs, cluster=cluster, seconds=seconds,
            say=_say,
        )  # fmt: skip
    if missing := found.run():
        print(f"{missing} measurements of this stage are missing: run the same command again")
    else:
        print(f"written: {out}/report.md")


def _table(
    out: Path,
    model: str,
    text: Path | None,
    config: str,
    axes: Mapping[str, Sequence[float] | None],
    knobs: tuple[str, ...],
    chips: int,
) -> None:
    """Write and print the paper's table of one model, a row for each value of the axes."""
    from itertools import product

    from cimsim.config.load import find_chip, load_chip
    from cimsim.stages.compute import open_compute
    from cimsim.stages.models import read_text, scored_windows
    from romer.study.checkpoint_table import checkpoint_rows, csv_table, markdown_table
    from romer.study.subject import CleanModel

    texts = read_text(text)
    moved = [[f"{key}={value}" for value in values] for key, values in axes.items() if values]
    kinds = [load_chip(find_chip(config), (*knobs, *some)) for some in product(*moved)]
    subject = CleanModel(model, kinds[0].workload.context, open_compute(kinds[0].run))
    for warning in subject.checkpoint.warnings:
        _say(f"warning: {warning}")
    windows = scored_windows(subject.checkpoint, texts, kinds[0].workload)
    rows = checkpoint_rows(kinds, subject, windows, chips, _say)
    table = markdown_table(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.csv").write_bytes(csv_table(rows))
    title = f"# {subject.checkpoint.name} on {kinds[0].name}, {texts.scored_name}\n\n"
    (out / "table.md").write_text(title + table, encoding="utf-8")
    print(table, end="")
    print(f"written: {out}/table.md")


def _knobs(overrides: Sequence[str] | None, device: str | None) -> tuple[str, ...]:
    """Return what changes a chip file: the user's overrides, then where torch computes."""
    return (*(overrides or ()), *([] if device is None else [f"run.device={device}"]))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line."""
    run_app(app, "romer")
