"""Files that mean harm or were damaged, drawn from a seed."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from shutil import copytree

import numpy as np

NUMBERS = (-1, 0, 1, 2**31, 2**63, 10**30, 1e999, 0.5, "1", None, [], {}, True, -1e9, [1] * 9)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes that were cut, filled, flipped or put together wrongly."""
    at = draw.randrange(len(data) + 1)
    way = draw.randrange(6)
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + draw.randbytes(draw.randrange(1, 64)) + data[at:]
    if way == 2:
        return data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]
    if way == 3:
        return data + data[: draw.randrange(1, 4096)]
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 8, 64))):
        if found:
            found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found)


def hostile_json(value: object, draw: random.Random) -> object:
    """Return a value of which one entry, anywhere, is another."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: hostile_json(value[key], draw)}
    return draw.choice(NUMBERS)


def hostile_checkpoint(model: Path, folder: Path, seed: int) -> Path:
    """Return a copy of a checkpoint in which one file is not what it should be."""
    draw = random.Random(f"checkpoint {seed}")
    copytree(model, folder)
    name = draw.choice(("config.json", "tokenizer.json", "model.safetensors", "model.safetensors"))
    path = folder / name
    data = path.read_bytes()
    if draw.random() < 0.4:
        path.write_bytes(damaged(data, draw))
    elif name.endswith(".json"):
        path.write_text(json.dumps(hostile_json(json.loads(data), draw)))
    else:
        length = int.from_bytes(data[:8], "little")
        header = json.dumps(hostile_json(json.loads(data[8 : 8 + length]), draw)).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    return folder


def hostile_trace(path: Path, seed: int, shape: tuple[int, int, int], n_experts: int) -> None:
    """Write a routing trace that is not one, or is one of another model."""
    draw = random.Random(f"trace {seed}")
    tokens, layers, k = shape
    ranks = np.random.default_rng(seed).random((tokens, layers, n_experts))
    arrays: dict[str, np.ndarray] = {
        "experts": ranks.argsort(axis=2)[:, :, :k],
        "sequence": np.repeat(np.arange(2), -(-tokens // 2))[:tokens],
        "position": np.arange(tokens) % -(-tokens // 2),
        "n_experts": np.int64(n_experts),
    }
    name = draw.choice(sorted(arrays))
    way = draw.randrange(4)
    if way == 0:
        flat = np.atleast_1d(arrays[name]).astype(np.float64)
        flat.flat[draw.randrange(flat.size)] = draw.choice((np.nan, np.inf, 0.5, -1.0, 1e12))
        arrays[name] = flat
    elif way == 1:
        kind = draw.choice((np.uint64, np.int64, np.int32))
        flat = np.atleast_1d(arrays[name]).astype(kind)
        flat.flat[draw.randrange(flat.size)] = kind(draw.choice((65536, n_experts, 2**31 - 1)))
        arrays[name] = flat if name != "n_experts" else flat[0]
    elif way == 2:
        arrays[name] = draw.choice((np.array(["a"]), np.zeros((0, 3)), arrays[name][..., None]))
    np.savez_compressed(path, **arrays)
    if way == 3:
        path.write_bytes(damaged(path.read_bytes(), draw))


def hostile_loads(seed: int) -> bytes:
    """Return a CSV file of loads that is likely none."""
    draw = random.Random(f"loads {seed}")
    rows = [[str(draw.randrange(1, 99)) for _ in range(8)] for _ in range(3)]
    odd = ("nan", "inf", "-1", "1e308", "1e-320", "", "x", '"', "1_0", "9" * 5000, "\x1b[2J", "=1")
    rows[draw.randrange(3)][draw.randrange(8)] = draw.choice(odd)
    text = "\n".join(",".join(row) for row in rows).encode()
    return damaged(text, draw) if draw.random() < 0.4 else text
