"""Which files of a checkpoint's folder hold its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.model.config_reader import read_json
from cimsim.model.tensor_file import TensorFile

__all__ = ["WeightFiles", "open_weights"]

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
WHOLE = "model.safetensors"
INDEX = f"{WHOLE}.index.json"
NAMED = 3  # files that a warning names


@dataclass(frozen=True)
class WeightFiles:
    """The weights of a checkpoint.

    Attributes:
        files: file of every tensor, by the tensor's name.
        warnings: what the user should know, a sentence each.
    """

    files: dict[str, TensorFile]
    warnings: tuple[str, ...] = ()


def open_weights(folder: Path) -> WeightFiles:
    """Open the weights of a folder.

    As transformers does, ``model.safetensors`` is taken where it is there, and else the
    shards of the index; a warning names other weights that lie beside them. A folder with
    one file of another name has its weights there.

    Raises:
        CimsimError: if there are no weights, or it is not clear which.
    """
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    index = folder / INDEX
    if WHOLE in found:
        beside = [name for name in found if name != WHOLE]
        if index.is_file() and not _names_only_whole(index):
            beside.insert(0, INDEX)
        return WeightFiles(_one_file(folder / WHOLE), _left_out(folder, WHOLE, beside))
    if index.is_file():
        files = _open_shards(folder, index)
        read = {file.path.name for file in files.values()}
        beside = [name for name in found if name not in read]
        return WeightFiles(files, _left_out(folder, f"what {INDEX} names", beside))
    if not found:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
        if pickles:
            raise CimsimError(
                "pickled weights are refused because loading them can run any code",
                file=folder / pickles[0],
                allowed="*.safetensors",
            )
        raise CimsimError("the folder has no *.safetensors file", file=folder)
    if len(found) > 1:
        raise CimsimError(
            f"several weight files but neither {WHOLE} nor {INDEX}",
            file=folder,
            value=", ".join(found[:NAMED]),
        )
    return WeightFiles(_one_file(folder / found[0]))


def _one_file(path: Path) -> dict[str, TensorFile]:
    file = TensorFile(path)
    return dict.fromkeys(file.tensors, file)


def _names_only_whole(index: Path) -> bool:
    """Return whether an index says that all tensors are in ``model.safetensors``."""
    try:
        weight_map = read_json(index).get("weight_map")
    except CimsimError:
        return False
    return isinstance(weight_map, dict) and all(shard == WHOLE for shard in weight_map.values())


def _left_out(folder: Path, read: str, beside: list[str]) -> tuple[str, ...]:
    """Say which weights of a folder are not those of the model."""
    if not beside:
        return ()
    names = ", ".join(beside[:NAMED])
    if len(beside) > NAMED:
        names += f" and {len(beside) - NAMED} more"
    return (
        f"the weights of {folder.resolve().name} are read from {read}, as transformers does; "
        f"not read: {names} beside them",
    )


def _open_shards(folder: Path, index: Path) -> dict[str, TensorFile]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CimsimError("the index names no weights", file=index, key="weight_map")
    shards: dict[str, TensorFile] = {}
    files: dict[str, TensorFile] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CimsimError(
                "a weight file must lie in the model's folder", file=index, key=name, value=shard
            )
        if shard not in shards:
            if not shard.endswith(".safetensors"):
                raise CimsimError("not a safetensors file", file=index, key=name, value=shard)
            shards[shard] = TensorFile(folder / shard)
        if name not in shards[shard].tensors:
            raise CimsimError(f"the file lacks tensor {name!r}", file=folder / shard)
        files[name] = shards[shard]
    _check_listed(index, weight_map, shards)
    return files


def _check_listed(index: Path, weight_map: dict[str, str], shards: dict[str, TensorFile]) -> None:
    """Refuse tensors that the index has in another file: two sets of weights, or a stale index."""
    for shard, file in shards.items():
        for name in file.tensors:
            if weight_map.get(name) != shard:
                raise CimsimError(
                    f"{shard} holds tensor {name!r} and the index has it elsewhere",
                    file=index,
                    value=weight_map.get(name, "nowhere"),
                    hint="the index and the weight files are not of one model",
                )
