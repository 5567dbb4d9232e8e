"""What a run will do: chips, models, texts and folder, all checked before any computing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cimsim.chip import analog_units, build_system
from cimsim.config import ChipConfig
from cimsim.config.open_chip import open_chip
from cimsim.cost import CostModel
from cimsim.engine.network_choice import refuse_flit
from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, build_program
from cimsim.plugins import Plugin, load_plugins
from cimsim.results import RunFolder
from cimsim.stages.accuracy import GivenCorrection, foreign_seeds
from cimsim.stages.calibration_text import check_calibration_text
from cimsim.stages.compute import Compute, open_compute, open_others
from cimsim.stages.cores import usable_cores
from cimsim.stages.device_share import DeviceShare, side_by_side
from cimsim.stages.gate import CheckRule, pass_gate
from cimsim.stages.identity import RunIdentity
from cimsim.stages.memory import check_device, check_memory, device_bytes, peak_bytes
from cimsim.stages.models import Texts, calibration_windows, open_model, read_text, scored_windows
from cimsim.stages.shapes import open_shape
from cimsim.text_file import is_file
from cimsim.zoo import bundled_models
from moe_mapping.registry import policy_named
from romer.registry import steps_of

__all__ = ["ChipTask", "Request", "RunPlan", "check_models", "make_plan"]


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        chips: chip files, names of bundled chips, or chips that are loaded.
        overrides: KEY=VALUE strings for every chip.
        models: names of bundled models or checkpoint folders.
        text: file to score, or a text itself; None for the bundled one.
        bos: whether windows begin with a token that says so: auto, always or never.
        check: whether models in folders are compared with transformers first.
        correction: saved correction to apply, or None to calibrate.
        force: apply a correction that was made for something else.
        out: folder of the run, or None for reports/<hash>.
        overwrite: replace what a non-empty folder holds.
        resume: go on with the run that the folder holds.
        jobs: chips at once, or None for all cores.
        threads: threads per chip, or None for cores / jobs.
        plugins: files that register what chips and models name.
        cluster: ``local:N`` or a Dask scheduler's address to compute on, or None.
        cache: folder of the stage cache, None to compute everything.
    """

    chips: tuple[str | Path | ChipConfig, ...]
    overrides: tuple[str, ...] = ()
    models: tuple[str, ...] = ("olmoe-tiny",)
    text: Path | str | None = None
    bos: str = "auto"
    check: CheckRule = "never"
    correction: Path | None = None
    force: bool = False
    out: Path | None = None
    overwrite: bool = False
    resume: bool = False
    jobs: int | None = None
    threads: int | None = None
    plugins: tuple[Path, ...] = ()
    cluster: str | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class ChipTask:
    """One chip with one model.

    Attributes:
        config: the chip.
        model: bundled name or folder.
        name: unique among the tasks of a run: names its folder under chips/.
    """

    config: ChipConfig
    model: str
    name: str


@dataclass(frozen=True)
class RunPlan:
    """A checked run.

    Attributes:
        tasks: in the order of the report.
        texts: what is scored and what calibrates.
        folder: where results go.
        run_hash: sha256 of everything that decides the numbers.
        described: the same in full, so that a run that is resumed can say what differs.
        correction: saved correction to apply, or None.
        force: apply a foreign correction.
        jobs: chips at once.
        threads: threads per chip.
        check: whether models in folders are compared with transformers first.
        memory_bytes: that it takes at its peak; None where torch computes.
        warnings: what models and a given correction make known before a run, a sentence each.
        plugins: that are loaded; workers load them too.
        cluster: to compute on, or None for this machine.
        cache: folder of the stage cache, None to compute everything.
    """

    tasks: tuple[ChipTask, ...]
    texts: Texts
    folder: RunFolder
    run_hash: str
    described: Mapping[str, object]
    correction: Path | None
    force: bool
    jobs: int
    threads: int
    check: CheckRule = "never"
    memory_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    cluster: str | None = None
    cache: Path | None = None


def make_plan(request: Request) -> RunPlan:
    """Check a request whole: files, knobs, models, texts, sizes and the folder.

    Raises:
        CimsimError: on the first thing that is wrong, before anything is computed.
    """
    plugins = load_plugins(request.plugins)
    texts = read_text(request.text, request.bos)
    configs = [open_chip(c, request.overrides) for c in request.chips]
    for shape in dict.fromkeys(c.workload.shape for c in configs):
        open_shape(shape)
    computes = [
        (config, (open_compute(config.run), *open_others(config.run))) for config in configs
    ]
    checkpoints = {name: open_model(name, texts.bos) for name in request.models}
    _check_devices(computes, checkpoints)
    _distinct("chip", [c.name for c in configs])
    _distinct("--model", [c.name for c in checkpoints.values()])
    tasks = [
        _checked_task(config, model, checkpoint, texts, several=len(checkpoints) > 1)
        for config in configs
        for model, checkpoint in checkpoints.items()
    ]
    _check_correction(request, configs, checkpoints)
    identity = RunIdentity(
        tuple(configs), tuple(checkpoints.values()), texts, request.correction, plugins
    )
    run_hash = identity.run_hash()
    out = request.out or Path("reports") / run_hash[:12]
    cores = usable_cores()
    jobs, waits = min(request.jobs or cores, len(tasks)), None
    if request.jobs is None and request.cluster is None:
        jobs, waits = _side_by_side(tasks, checkpoints, computes, jobs)
    threads = request.threads or (1 if request.cluster else max(1, cores // jobs))
    memory = _memory(tasks, checkpoints, jobs, threads)
    if memory is not None and not request.cluster:
        check_memory(memory, jobs)
    return RunPlan(
        tasks=tuple(tasks),
        texts=texts,
        folder=RunFolder(out, overwrite=request.overwrite, resume=request.resume),
        described=identity.described(),
        run_hash=run_hash,
        correction=request.correction,
        force=request.force,
        jobs=jobs,
        threads=threads,
        check=request.check,
        memory_bytes=memory,
        warnings=_warnings(configs, checkpoints, request.correction, waits),
        plugins=plugins,
        cluster=request.cluster,
        cache=request.cache,
    )


def check_models(plan: RunPlan, say: Callable[[str], None]) -> None:
    """Compare models in folders with transformers as a plan asks for; bundled ones are tested.

    Args:
        plan: the run.
        say: told what was found, a sentence a model.

    Raises:
        CimsimError: if a model cannot be compared and must be, or differs.
    """
    if plan.check == "never":
        return
    outside = [task for task in plan.tasks if task.model not in bundled_models()]
    for model, task in {task.model: task for task in reversed(outside)}.items():
        checkpoint = open_model(model, plan.texts.bos)
        windows = scored_windows(checkpoint, plan.texts, task.config.workload)
        say(pass_gate(checkpoint, windows, plan.check))


def _checked_task(
    config: ChipConfig, model: str, checkpoint: Checkpoint, texts: Texts, *, several: bool
) -> ChipTask:
    """Return a task whose chip, model and texts go together."""
    policy_named(config.mapping.policy)
    steps_of(config.calibration.method)
    program = build_program(checkpoint)
    mesh = build_system(config, analog_units(program, config))
    CostModel(config, mesh, program)  # a price that cannot be is refused before anything runs
    refuse_flit(config, config.run.engine, mesh.network)
    scored_windows(checkpoint, texts, config.workload)
    calibration_windows(checkpoint, texts, config.calibration.tokens, config.workload.context)
    check_calibration_text(config, checkpoint, texts)
    name = f"{config.name}.{checkpoint.name}" if several else config.name
    return ChipTask(config, model, name)


def _check_devices(
    computes: Sequence[tuple[ChipConfig, tuple[Compute, ...]]],
    checkpoints: Mapping[str, Checkpoint],
) -> None:
    """Refuse models of which a device does not hold a layer."""
    for config, devices in computes:
        for checkpoint in checkpoints.values():
            program = build_program(checkpoint)
            for compute in devices:
                check_device(config, program, compute.device_bytes)


def _check_correction(
    request: Request, configs: Sequence[ChipConfig], checkpoints: Mapping[str, Checkpoint]
) -> None:
    """Refuse a correction that a run would refuse."""
    path = request.correction
    if path is not None and not is_file(path):
        raise CimsimError("correction not found", file=path, key="--correction")
    for config in configs:
        for checkpoint in checkpoints.values():
            given = GivenCorrection.open(path, config, checkpoint.hash, force=request.force)
            given.check(checkpoint.program)


def _warnings(
    configs: Sequence[ChipConfig],
    checkpoints: Mapping[str, Checkpoint],
    given: Path | None,
    waits: str | None,
) -> tuple[str, ...]:
    """Return what is known before a run, a sentence each."""
    found = [w for checkpoint in checkpoints.values() for w in checkpoint.warnings]
    if waits is not None:
        found.append(waits)
    if given is not None:
        found += [foreign_seeds(c.run.chip_seeds) for c in configs if c.run.chip_seeds > 1]
    return tuple(dict.fromkeys(found))


def _side_by_side(
    tasks: Sequence[ChipTask],
    checkpoints: Mapping[str, Checkpoint],
    computes: Sequence[tuple[ChipConfig, tuple[Compute, ...]]],
    jobs: int,
) -> tuple[int, str | None]:
    """Return how many chips run at once, and a sentence if a device holds fewer than cores would.

    Chips that may fill some memory only (run.device_gb) have been given their share.
    """
    free = {
        name: compute.device_bytes
        for config, devices in computes
        for name, compute in zip(config.run.devices, devices, strict=True)
        if compute.device_bytes is not None and config.run.device_gb is None
    }
    shares = []
    for task in tasks if free else ():
        program = build_program(checkpoints[task.model])
        needs = device_bytes(task.config, program, analog_units(program, task.config))
        shares.append(DeviceShare(task.config.run.devices, needs))
    return side_by_side(shares, free, jobs)


def _memory(
    tasks: Sequence[ChipTask], checkpoints: Mapping[str, Checkpoint], jobs: int, threads: int
) -> int | None:
    """Return the bytes that the tasks which need most take together; None with torch."""
    if any(task.config.run.backend == "torch" for task in tasks):
        return None
    each = []
    for task in tasks:
        program = build_program(checkpoints[task.model])
        each.append(peak_bytes(task.config, program, analog_units(program, task.config), threads))
    return sum(sorted(each)[-jobs:])


def _distinct(key: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CimsimError(
                "is named twice in one run", key=key, value=name, hint="give each its own name"
            )
