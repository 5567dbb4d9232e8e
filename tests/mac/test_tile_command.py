"""`cimsim tile` as users run it: one page, its JSON, its figure, and what it refuses."""

from __future__ import annotations

import json
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import run_here

SMALL = ("--cols", "8", "--tokens", "16")
CHIP = "eflash_40nm"


def _tile(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here("tile", *arguments, folder=folder)


def test_the_page_fits_80_columns_and_says_what_limits_the_tile(tmp_path: Path) -> None:
    done = _tile(tmp_path, CHIP, "--rows", "64", *SMALL)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("SQNR", "effective bits", "clipped", "predicted", "all but it", "recommended",
                  "one MVM", "adc"):  # fmt: skip
        assert words in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chip", [CHIP, "sram_analog_7nm"])
def test_ratios_to_outputs_of_zero_are_dashes_with_the_reason(tmp_path: Path, chip: str) -> None:
    np.save(tmp_path / "zeros.npy", np.zeros((64, 16), dtype=np.float32))
    arguments = (chip, "--matrix", "zeros.npy", "--tokens", "8")
    done = _tile(tmp_path, *arguments, "--figure", "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["SQNR", "against", "float", "-", "dB", "effective", "bits", "-"] in lines
    assert "every output of the exact integer product is 0" in done.stdout
    assert [line[2] for line in lines if line[:1] == ["recommended"]] == ["-", "-"]
    assert (tmp_path / "a.png").stat().st_size > 1000
    page = json.loads(_tile(tmp_path, *arguments, "--json").stdout)
    for name in ("sqnr_db", "effective_bits", "error_observed", "error_predicted", "error_float"):
        assert page[name] is None
    assert page["clip_rate"] is not None  # conversions were made
    assert len(page["undefined"]) == 2


def test_json_and_figure_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.linspace(-1.0, 1.0, 48 * 6).reshape(48, 6))
    runs = []
    for name in ("a.svg", "b.svg"):
        done = _tile(
            tmp_path, CHIP, "--matrix", "w.npy", "--tokens", "16", "--json", "--figure", name
        )
        assert done.returncode == 0, done.stderr
        runs.append((done.stdout, (tmp_path / name).read_bytes()))
    assert runs[0] == runs[1]
    page = json.loads(runs[0][0])
    assert (page["n_in"], page["n_out"]) == (48, 6)
    # 2.2 LSB of a weight, and what the closed form makes of it
    assert page["error_observed"] == pytest.approx(page["error_predicted"], rel=0.25)
    parts = page["mvm"]["energy_pj_by_component"].values()
    assert sum(parts) == pytest.approx(page["mvm"]["energy_pj"])
    assert page["mvm"]["conversions"] == 12  # six pairs, positive and negative inputs apart
    assert runs[0][1].startswith(b"<?xml")


def test_a_png_is_a_png_and_knobs_have_effect(tmp_path: Path) -> None:
    done = _tile(
        tmp_path, CHIP, "--rows", "32", *SMALL, "--json", "--figure", "t.png",
        "--set", "tile.adc.bits=4", "--seed", "3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    page = json.loads(done.stdout)
    assert page["adc"]["bits"] == 4
    assert page["seed"] == 3
    assert page["error_observed"] == page["adc"]["error_by_bits"]["4"]


def test_weights_and_inputs_of_one_bit_are_studied_like_others(tmp_path: Path) -> None:
    one = ("--set", "tile.weight.bits=1", "--set", "tile.input.bits=1")
    whole = ("--set", "tile.device.cell_bits=1", "--set", "tile.dac.bits=1")
    done = _tile(tmp_path, CHIP, "--rows", "64", *SMALL, "--json", *one, *whole)
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert page["mvm"]["conversions"] == 16  # eight pairs, inputs of +1 and of -1 apart
    assert page["mvm"]["input_bit_density"] == 0.5  # of the rows, in either phase
    assert page["mvm"]["mean_level_fraction"] == pytest.approx(0.5, abs=0.01)
    # Signs of normals keep 2 / pi of the power of each factor.
    assert page["error_formats"] == pytest.approx((1 - (2 / 3.14159) ** 2) ** 0.5, abs=0.06)
    assert not any("lowest" in note for note in page["notes"])
    loose = _tile(tmp_path, CHIP, "--rows", "64", *SMALL, *one)
    assert loose.returncode == 0, loose.stderr
    assert "lowest 2 of 256 levels" in " ".join(loose.stdout.split())
    refused = _tile(tmp_path, CHIP, "--set", "tile.weight.bits=0")
    assert refused.returncode == 2
    assert "tile.weight.bits" in refused.stderr


def test_what_closed_forms_do_not_cover_is_not_predicted(tmp_path: Path) -> None:
    done = _tile(tmp_path, "isaac", "--rows", "48", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "not predicted: rounding is not uniform" in done.stdout
    assert "no closed form for: whole levels on whole codes" in done.stdout


def test_a_chip_without_crossbars_in_use_is_refused(tmp_path: Path) -> None:
    done = _tile(tmp_path, "npu_hbm")
    assert done.returncode == 2
    assert "chip.analog_parts" in done.stderr


def _bad_files(folder: Path) -> None:
    np.save(folder / "vector.npy", np.ones(4))
    np.save(folder / "empty.npy", np.ones((0, 4)))
    np.save(folder / "nan.npy", np.array([[1.0, np.nan]]))
    np.save(folder / "big.npy", np.array([[1.0, 1e300]]))
    np.save(folder / "words.npy", np.array([["a", "b"]]))
    np.save(folder / "objects.npy", np.array([[None, 1]], dtype=object), allow_pickle=True)
    np.savez(folder / "many.npz", a=np.ones((2, 2)))
    (folder / "pickle.npy").write_bytes(pickle.dumps([1, 2]))
    (folder / "none.npy").write_bytes(b"")
    with (folder / "boast.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
    np.save(folder / "good.npy", np.ones((4, 4)))
    (folder / "folder.npy").mkdir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--matrix", "nowhere.npy"), ("nowhere.npy", "not found")),
        (("--matrix", "vector.npy"), ("vector.npy", "(4,)", "[n_in, n_out]")),
        (("--matrix", "empty.npy"), ("empty.npy", "(0, 4)")),
        (("--matrix", "nan.npy"), ("nan.npy", "finite")),
        (("--matrix", "big.npy"), ("big.npy", "finite")),
        (("--matrix", "words.npy"), ("words.npy", "real numbers")),
        (("--matrix", "objects.npy"), ("objects.npy", "NumPy array")),
        (("--matrix", "many.npz"), ("many.npz", "NumPy array")),
        (("--matrix", "pickle.npy"), ("pickle.npy", "NumPy array")),
        (("--matrix", "none.npy"), ("none.npy", "NumPy array")),
        (("--matrix", "boast.npy"), ("boast.npy", "NumPy array")),
        (("--matrix", "folder.npy"), ("folder.npy", "is not a file")),
        (("--matrix", "good.npy", "--rows", "4"), ("--rows", "its own")),
        (("--figure", "t.pdf"), ("--figure", ".png")),
        (("--set", "tile.crossbar.kind=digital"), ("tile.crossbar.kind",)),
        (("--rows", "0"), ("rows",)),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_input_is_one_sentence_and_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    _bad_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = _tile(tmp_path, CHIP, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert sorted(tmp_path.iterdir()) == before
