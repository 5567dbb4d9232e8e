"""Putting the matrices of a torch model on the tiles of a chip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cimsim.backends.torch.compute import TorchCompute
from cimsim.backends.torch.tile import Precision
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, Mode, calibrate_range
from cimsim.model.kernels.product import product
from cimsim.model.kernels.rows import swiglu
from cimsim.stages.ranges import LEAST_ROWS, ROWS
from cimsim.torch.analog_model import AnalogModel, columns_of
from cimsim.torch.modules import ExpertsOnTiles, LinearOnTiles, RouterOnTiles, Slot
from cimsim.torch.names import expert_layer, matrix_of
from cimsim.torch.products import Recorded
from cimsim.torch.tokens import TokenTracker
from cimsim.workload.matrix import PART_OF_ROLE, MatrixId

__all__ = ["analogize"]

Model = TypeVar("Model", bound=nn.Module)
_ON_TILES = (LinearOnTiles, RouterOnTiles, ExpertsOnTiles)
Floats = NDArray[np.float32]


def analogize(
    model: Model,
    chip: str | Path | ChipConfig,
    seed: int = 0,
    *,
    mode: Mode = "folded",
    precision: Precision | None = None,
    parts: Collection[str] | None = None,
    calibration: Tensor | None = None,
    read_seed: int = 0,
) -> Model:
    """Put the linear layers, routers and experts of a model on the tiles of a chip.

    Args:
        model: a decoder with the module names of Llama-like models of transformers; its weights
            stay and are what is programmed.
        chip: file, bundled name, or configuration.
        seed: which chip: draw of the frozen randomness.
        mode: `folded`, or `detailed` with every slice, cycle and conversion.
        precision: `exact` or `fast` (`cimsim.backends.torch`); by default exact on a CPU, fast on
            CUDA.
        parts: of attention, router, experts, shared and head, those on tiles; by default the
            chip's `chip.analog_parts`.
        calibration: token ids int64 [sequences, tokens]; the float model reads them once, to find
            converter ranges and input scales where the chip takes them from text.
        read_seed: seed of fresh noise.

    Returns:
        The same module, with `analog` (`AnalogModel`) and `reprogram(chip_seed)` added.

    Raises:
        CimsimError: if the model has nothing that the chip could hold, calibration text is needed
            and missing, the chip has a scale for every input, or the model is analog already.
    """
    config = chip if isinstance(chip, ChipConfig) else load_chip(find_chip(chip))
    wanted = _parts(config, parts)
    if hasattr(model, "analog"):
        raise CimsimError("the model is on tiles already", hint="model.reprogram draws a chip")
    tokens = TokenTracker()
    hook = tokens.watch(model)
    try:
        slots, digital = _place(model, wanted, tokens)
        inputs = _record(model, slots, calibration)
        ranges = {m: _range(s, inputs.get(m), config) for m, s in slots.items()}
        device = next(iter(slots.values())).weight().device
        how = precision or ("exact" if device.type == "cpu" else "fast")
        compute = TorchCompute(str(device), how, read_seed)
        analog = AnalogModel(
            model, config, mode, slots, ranges, tokens, digital, compute, read_seed
        )
        analog.reprogram(seed)
    except BaseException:  # the model is the user's: it stays as it was
        hook.remove()
        _restore(model)
        raise
    # As plain attributes: a handle is no submodule and has no parameters of its own.
    model.__dict__["analog"], model.__dict__["reprogram"] = analog, analog.reprogram
    return model


def _restore(model: nn.Module) -> None:
    """Give every module its own `forward` back."""
    for module in model.modules():
        if isinstance(module.__dict__.get("forward"), _ON_TILES):
            del module.forward


def _parts(config: ChipConfig, parts: Collection[str] | None) -> frozenset[str]:
    """Return the parts to put on tiles.

    Raises:
        CimsimError: if there is no such part, or the chip has a scale for every input.
    """
    if config.tile.input.scale == "per_channel":
        raise CimsimError(
            "a module of torch has no scale for every input",
            key="tile.input.scale", value="per_channel", allowed="per_token or static",
            hint="cimsim run takes models with such scales",
        )  # fmt: skip
    known = set(PART_OF_ROLE.values())
    wanted = frozenset(config.chip.analog_parts if parts is None else parts)
    for part in wanted - known:
        raise CimsimError(
            "is not a part of a model", key="parts", value=part, allowed=", ".join(sorted(known))
        )
    return wanted


def _place(
    model: nn.Module, parts: frozenset[str], tokens: TokenTracker
) -> tuple[dict[MatrixId, Slot], tuple[str, ...]]:
    """Give every matrix of the wanted parts a slot; return them, and the paths of other layers.

    Raises:
        CimsimError: if there is none.
    """
    slots: dict[MatrixId, Slot] = {}
    digital: list[str] = []
    modules = dict(model.named_modules())
    layers = 1 + max((_layer_of(path) for path in modules), default=-1)
    for path, module in modules.items():
        found = list(_slots_of(path, module, layers))
        mine = {s.matrix: s for s in found if s.matrix.part in parts}
        if mine:
            module.forward = _forward(module, mine, tokens)
            slots |= mine
        elif found or isinstance(module, nn.Linear):
            digital.append(path)
    if not slots:
        raise CimsimError(
            "no module of this model is a matrix of a known family",
            key="parts", value=", ".join(sorted(parts)),
            hint="module names must be those of transformers' Llama-like models",
        )  # fmt: skip
    return slots, tuple(digital)


def _layer_of(path: str) -> int:
    name = path.rsplit("layers.", maxsplit=1)
    return int(name[1]) if len(name) == 2 and name[1].isdigit() else -1


def _slots_of(path: str, module: nn.Module, layers: int) -> Iterator[Slot]:
    """Yield the matrices of one module.

    Raises:
        CimsimError: if an expert is a module of its own, which hides whose rows it sees.
    """
    layer = expert_layer(path)
    if layer is not None and isinstance(getattr(module, "gate_up_proj", None), nn.Parameter):
        yield from _slots_of_experts(module, layer)
        return
    weight = module._parameters.get("weight")
    matrix = matrix_of(path, layers) if weight is not None and weight.ndim == 2 else None
    if matrix is None:
        return
    if matrix.part == "experts":
        raise CimsimError(
            f"{path} is an expert with a module of its own, which hides which tokens it sees",
            hint="load the model with transformers 5 or newer, which holds experts together",
        )
    yield Slot(matrix, lambda: module.get_parameter("weight"))


def _slots_of_experts(module: nn.Module, layer: int) -> Iterator[Slot]:
    """Yield gate, up and down of every expert of three-dimensional weights."""
    experts, both, _ = module.get_parameter("gate_up_proj").shape
    rows = {"gate": slice(both // 2), "up": slice(both // 2, both), "down": slice(None)}
    for expert in range(experts):
        for role, some in rows.items():
            name = "down_proj" if role == "down" else "gate_up_proj"
            yield Slot(MatrixId(layer, role, expert), _Weight(module, name, expert, some))


class _Weight:
    """One expert's rows of a three-dimensional weight, where the model holds it now."""

    def __init__(self, module: nn.Module, name: str, expert: int, rows: slice) -> None:
        self._module, self._name, self._at = module, name, (expert, rows)

    def __call__(self) -> Tensor:
        weight: Tensor = self._module.get_parameter(self._name)[self._at]
        return weight


def _forward(
    module: nn.Module, slots: Mapping[MatrixId, Slot], tokens: TokenTracker
) -> LinearOnTiles | RouterOnTiles | ExpertsOnTiles:
    first, *others = slots.values()
    if others:
        by_role = {(m.role, m.expert): s for m, s in slots.items()}
        return ExpertsOnTiles(module, by_role, tokens)
    if isinstance(module, nn.Linear):
        return LinearOnTiles(module, first, tokens)
    return RouterOnTiles(module, first, tokens)


@torch.no_grad()
def _record(
    model: nn.Module, slots: Mapping[MatrixId, Slot], calibration: Tensor | None
) -> dict[MatrixId, Floats]:
    """Return the first inputs of every matrix as the float model computes them.

    An expert that few tokens chose borrows those of its layer: its gate and up would see what the
    router sees, its down what they make of it.
    """
    if calibration is None:
        return {}
    recorded = {m: Recorded(s.weight(), ROWS) for m, s in slots.items()}
    for matrix, slot in slots.items():
        slot.product = recorded[matrix]
    rows: dict[int, Floats] = {}
    hooks = [
        module.register_forward_pre_hook(_first_rows(rows, layer))
        for path, module in model.named_modules()
        if (layer := expert_layer(path)) is not None
    ]
    model(calibration)
    for hook in hooks:
        hook.remove()
    inputs = {matrix: r.inputs for matrix, r in recorded.items()}
    few = [m for m, x in inputs.items() if m.part == "experts" and len(x) < LEAST_ROWS]
    for matrix in few:
        x = rows[matrix.layer]
        gate, up = (columns_of(slots[matrix._replace(role=role)]) for role in ("gate", "up"))
        down = matrix.role == "down"
        inputs[matrix] = swiglu(product(x, gate), product(x, up)) if down else x
    return inputs


def _first_rows(rows: dict[int, Floats], layer: int) -> Callable[[nn.Module, Any], None]:
    """Return a hook that keeps the first rows of a layer's experts."""

    def keep(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows[layer] = given[0][:ROWS].float().cpu().numpy()

    return keep


def _range(slot: Slot, seen: Floats | None, chip: ChipConfig) -> AdcRange:
    """Find the converter range of a matrix.

    Raises:
        CimsimError: if the chip takes it from text and there is none.
    """
    try:
        return calibrate_range(columns_of(slot), slot.matrix, chip.tile, seen)
    except CimsimError as error:
        if seen is not None:
            raise
        raise CimsimError(
            "this chip takes converter ranges or input scales from text",
            key="calibration", allowed="token ids [sequences, tokens]",
        ) from error  # fmt: skip
