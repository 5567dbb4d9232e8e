"""Weight files: which of a folder are read, and which headers are whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refusal
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import OlmoeForCausalLM

from cimsim.errors import CimsimError
from cimsim.model import build_program, load_checkpoint
from cimsim.model.tensor_file import TensorFile, remember_digest

WEIGHTS = "model.safetensors"


@pytest.mark.parametrize(("dtype", "code"), [(torch.bfloat16, "BF16"), (torch.float16, "F16")])
def test_all_half_width_patterns_decode_to_the_float32_of_torch(
    dtype: torch.dtype, code: str, tmp_path: Path
) -> None:
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    save_file({"all": patterns, "odd": torch.ones(3, dtype=torch.uint8).to(dtype)}, tmp_path / "x")
    file = TensorFile(tmp_path / "x")
    assert file.tensors["all"].dtype == code
    np.testing.assert_array_equal(file.read("all"), patterns.float().numpy())
    with pytest.raises(CimsimError, match="'all' is not finite"):
        file.digest()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_a_number_that_is_none_is_found_in_every_width(
    dtype: torch.dtype, bad: float, tmp_path: Path
) -> None:
    largest = torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype)
    save_file({"large": largest}, tmp_path / "fine")
    assert TensorFile(tmp_path / "fine").digest()
    save_file({"large": largest, "one": torch.tensor([0.0, bad], dtype=dtype)}, tmp_path / "bad")
    with pytest.raises(CimsimError, match="'one' is not finite"):
        TensorFile(tmp_path / "bad").digest()


def test_a_digest_of_another_process_holds_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_file({"all": torch.ones(7)}, path)
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert TensorFile(path).known_digest()[2] == whole
    os.utime(path, ns=(0, 10))
    now = path.stat()
    state = now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns
    remember_digest((path, state, "as another found it"))
    assert TensorFile(path).digest() == "as another found it"
    os.utime(path, ns=(0, 20))
    assert TensorFile(path).digest() == whole


def test_large_tensors_are_checked_and_hashed_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cimsim.model.tensor_file.CHUNK_BYTES", 64)
    late = torch.zeros(101)
    save_file({"early": torch.ones(101), "late": late}, tmp_path / "x")
    found = TensorFile(tmp_path / "x").digest()
    assert found == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    late[-1] = torch.inf
    save_file({"early": torch.ones(101), "late": late}, tmp_path / "x")
    with pytest.raises(CimsimError, match="'late' is not finite"):
        TensorFile(tmp_path / "x").digest()


def test_rows_of_a_tensor_are_read_alone(tmp_path: Path) -> None:
    stack = torch.randn(3, 4, 5).to(torch.bfloat16)
    save_file({"first": torch.ones(7), "stack": stack}, tmp_path / "x")
    found = TensorFile(tmp_path / "x").read("stack", (6, 9))
    np.testing.assert_array_equal(found, stack.float().numpy().reshape(12, 5)[6:9])


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(9)}, tmp_path / "x")
    file = TensorFile(tmp_path / "x")
    os.truncate(tmp_path / "x", (tmp_path / "x").stat().st_size - 4)
    for act in (file.digest, lambda: file.read("x")):
        with pytest.raises(CimsimError, match="changed after it was opened"):
            act()


def test_shards_give_the_same_matrices_as_one_file(folder: Path, tmp_path: Path) -> None:
    whole = load_checkpoint(folder)
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({n: tensors[n] for n in part}, folder / shard)
    weight_map = {n: shard for shard, part in shards.items() for n in part}
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    sharded = load_checkpoint(folder)
    for matrix in build_program(whole).matrices():
        np.testing.assert_array_equal(sharded.matrix(matrix.id), whole.matrix(matrix.id))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "x.pkl"])
def test_pickles_are_refused(name: str, folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / name)
    sentence = refusal(folder)
    assert "pickled" in sentence
    assert name in sentence


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert "no *.safetensors" in refusal(folder)


def test_several_weight_files_without_an_index_are_refused(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "second.safetensors")
    (folder / WEIGHTS).rename(folder / "first.safetensors")
    sentence = refusal(folder)
    assert "index.json" in sentence
    assert "first.safetensors, second.safetensors" in sentence


def write_shards(folder: Path, shift: float = 0.0, extra: int = 0) -> None:
    """Write two shards and their index beside whatever is there.

    Args:
        folder: with a ``model.safetensors``, whose numbers the shards take.
        shift: added to all of them.
        extra: tensors of the first shard that the second one has as well.
    """
    tensors = {name: t + shift for name, t in load_file(folder / WEIGHTS).items()}
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    weight_map = {n: shard for shard, part in parts.items() for n in part}
    parts["b.safetensors"] += parts["a.safetensors"][:extra]
    for shard, part in parts.items():
        save_file({n: tensors[n] for n in part}, folder / shard, {"format": "pt"})
    (folder / f"{WEIGHTS}.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def test_of_two_sets_of_weights_the_one_of_transformers_is_read_and_it_is_said(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    shutil.copytree(folders["olmoe"], folder)
    before = load_checkpoint(folder)
    write_shards(folder, shift=1.0)
    found = load_checkpoint(folder)
    theirs = OlmoeForCausalLM.from_pretrained(folder).model.norm.weight.detach().numpy()
    np.testing.assert_array_equal(found.parameter(2, "final_norm"), theirs)
    assert found.hash == before.hash
    assert before.warnings == ()
    assert found.warnings == (
        "the weights of both are read from model.safetensors, as transformers does; not read: "
        "model.safetensors.index.json, a.safetensors, b.safetensors beside them",
    )
    (folder / WEIGHTS).unlink()
    sharded = load_checkpoint(folder)
    theirs = OlmoeForCausalLM.from_pretrained(folder).model.norm.weight.detach().numpy()
    np.testing.assert_array_equal(sharded.parameter(2, "final_norm"), theirs)
    assert not np.array_equal(theirs, found.parameter(2, "final_norm"))
    assert sharded.warnings == ()


@pytest.mark.parametrize("index", ['{"weight_map": {"x": "gone.safetensors"}}', "{}", "no JSON"])
def test_what_is_left_over_beside_a_whole_model_does_not_stop_it(index: str, folder: Path) -> None:
    whole = load_checkpoint(folder)
    (folder / f"{WEIGHTS}.index.json").write_text(index)
    save_file({"lora_A.weight": torch.ones(3)}, folder / "adapter_model.safetensors")
    found = load_checkpoint(folder)
    assert found.hash == whole.hash
    (warning,) = found.warnings
    assert f"not read: {WEIGHTS}.index.json, adapter_model.safetensors" in warning


def test_an_index_of_the_whole_model_is_no_second_set(folder: Path) -> None:
    weight_map = dict.fromkeys(load_file(folder / WEIGHTS), WEIGHTS)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert load_checkpoint(folder).warnings == ()


def test_weights_beside_shards_are_said_to_be_left_out(folder: Path) -> None:
    write_shards(folder)
    (folder / WEIGHTS).unlink()
    for i in range(5):
        save_file({"x": torch.ones(3)}, folder / f"more-{i}.safetensors")
    (warning,) = load_checkpoint(folder).warnings
    assert f"what {WEIGHTS}.index.json names" in warning
    assert "more-0.safetensors, more-1.safetensors, more-2.safetensors and 2 more" in warning


def test_a_tensor_in_two_shards_is_refused(folder: Path) -> None:
    write_shards(folder, extra=1)
    (folder / WEIGHTS).unlink()
    sentence = refusal(folder)
    assert "b.safetensors holds tensor 'lm_head.weight' and the index has it elsewhere" in sentence
    assert "(found 'a.safetensors')" in sentence


def test_a_model_without_a_tensor_names_the_weights_that_were_not_read(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    write_shards(folder)
    save_file({"lm_head.weight": tensors["lm_head.weight"]}, folder / WEIGHTS)
    sentence = refusal(folder)
    assert "lacks tensor 'model.embed_tokens.weight'" in sentence
    assert "not read: model.safetensors.index.json" in sentence


def test_weights_that_the_configuration_takes_from_elsewhere_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["transformers_weights"] = "other.safetensors"
    (folder / "config.json").write_text(json.dumps(config))
    assert "transformers_weights: this feature is not implemented" in refusal(folder)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights_are_refused(keep: int, folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])
    sentence = refusal(folder)
    assert WEIGHTS in sentence
    assert "not a whole safetensors file" in sentence or "cannot be read" in sentence


def write_raw(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'{"a": 3}', "malformed"),
        (b'{"a": {"dtype": "F32", "shape": [1]}}', "malformed"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "malformed"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', "malformed"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "match its shape"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', "ends before"),
        (b'{"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}}', "type"),
    ],
)
def test_malformed_headers_are_refused(header: bytes, why: str, folder: Path) -> None:
    write_raw(folder / WEIGHTS, header, b"\0" * 4)
    assert why in refusal(folder)


def entry(shape: object, *offsets: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": list(offsets)}


A, B = entry([1], 0, 4), entry([1], 4, 8)
# A header, the bytes of data, and why it is refused; None if it is fine.
HEADERS: dict[str, tuple[dict[str, object], int, str | None]] = {
    "fine": ({"a": A, "b": B}, 8, None),
    "any order": ({"b": B, "a": A}, 8, None),
    "of nothing": ({"a": entry([0], 0, 0), "b": A, "c": entry([9, 0], 4, 4)}, 4, None),
    "scalar": ({"a": entry([], 0, 4), "__metadata__": {"format": "pt"}}, 4, None),
    "shared bytes": ({"a": A, "b": A}, 4, "'b' begins at byte"),
    "overlap": ({"a": entry([2], 0, 8), "b": B}, 8, "'b' begins at byte"),
    "hole": ({"a": A, "b": entry([1], 8, 12)}, 12, "'b' begins at byte"),
    "late start": ({"a": B}, 8, "'a' begins at byte"),
    "nothing inside": ({"a": entry([2], 0, 8), "b": entry([0], 4, 4)}, 8, "'b' begins at byte"),
    "tail": ({"a": A}, 5, "1 bytes follow the data of 'a'"),
    "only a tail": ({}, 3, "3 bytes follow the data of the header"),
    "cut": ({"a": A, "b": B}, 7, "ends before the data of 'b'"),
    "fraction": ({"a": entry([1.0], 0, 4)}, 4, "malformed"),
    "fractional byte": ({"a": entry([1], 0.0, 4)}, 4, "malformed"),
    "word": ({"a": entry(["1"], 0, 4)}, 4, "malformed"),
    "words": ({"a": entry("1", 0, 4)}, 4, "malformed"),
    "truth": ({"a": entry([True], 0, 4)}, 4, "malformed"),
    "huge": ({"a": entry([2**64], 0, 4)}, 4, "malformed"),
    "huge place": ({"a": entry([1], 2**70, 2**70 + 4)}, 4, "malformed"),
    "three places": ({"a": entry([1], 0, 4, 4)}, 4, "malformed"),
    "backwards": ({"a": entry([0], 4, 0)}, 4, "match its shape"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_the_official_library_opens_what_is_opened_and_refuses_the_rest(
    case: str, tmp_path: Path
) -> None:
    header, size, why = HEADERS[case]
    path = tmp_path / "x.safetensors"
    data = np.arange(1, size + 1, dtype=np.uint8).tobytes()
    write_raw(path, json.dumps(header).encode(), data)
    if why is None:
        file = TensorFile(path)
        with safe_open(path, "numpy") as theirs:
            assert set(theirs.keys()) == set(file.tensors)
            for name in file.tensors:
                np.testing.assert_array_equal(file.read(name), theirs.get_tensor(name))
        return
    with pytest.raises(SafetensorError), safe_open(path, "numpy"):
        pass
    with pytest.raises(CimsimError, match=why) as caught:
        TensorFile(path)
    assert "not a whole safetensors file" in caught.value.sentence()


def test_a_header_longer_than_the_file_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**60) + b"{}")
    assert "shorter than its header" in refusal(folder)


@pytest.mark.parametrize(
    ("shard", "why"),
    [("../model.safetensors", "lie in the model's folder"), ("model.bin", "not a safetensors")],
)
def test_an_index_cannot_name_other_files(shard: str, why: str, folder: Path) -> None:
    index = {"weight_map": {"model.norm.weight": shard}}
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert why in refusal(folder)


def test_a_missing_shard_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {"model.norm.weight": "model-2.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert "missing" in refusal(folder)


def test_an_index_entry_that_its_shard_lacks_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "one.safetensors")
    index = {"weight_map": {"x": "one.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert "lacks tensor 'x'" in refusal(folder)


def test_an_empty_index_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text("{}")
    assert "weight_map" in refusal(folder)
