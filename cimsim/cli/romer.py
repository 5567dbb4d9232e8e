"""``python -m romer``: calibrate a deployed model, and the study of what calibration gains."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.entry import new_app, run_app
from cimsim.cli.options import Cluster, Device, Plugins, load

if TYPE_CHECKING:
    from romer.calibrate import Calibrated

__all__ = ["main"]

app = new_app("Calibrate mixture-of-experts models on noisy chips, after programming.")

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
    where = () if device is None else (f"run.device={device}",)
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
        overrides=(*(overrides or ()), *where),
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
    from romer.study.replicas import measure_replicas
    from romer.study.subject import CleanModel

    load(plugins)
    chip = load_chip(find_chip(config), tuple(overrides or ()))
    subject = CleanModel(model, context)
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
        Path | None, typer.Option(help="Folder that holds the plan's extra models.")
    ] = None,
) -> None:
    """Measure what calibration gains on the bundled models, as the plan says."""
    from romer.study.plan import read_plan
    from romer.study.run import Study

    wanted = read_plan(plan, reduced=reduced, chips=chips)
    found = Study(
        wanted, out, models_dir=models_dir, jobs=jobs, cluster=cluster, seconds=seconds, say=_say
    )
    if missing := found.run():
        print(f"{missing} measurements of this stage are missing: run the same command again")
    else:
        print(f"written: {out}/report.md")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line."""
    run_app(app, "romer")
