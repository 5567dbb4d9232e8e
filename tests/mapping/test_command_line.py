"""The command line: answers, tables, figures, and one sentence with exit code 2."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cimsim.cli.moe_mapping import main

DATA = Path(__file__).parent / "data"
LOADS = str(DATA / "loads" / "olmoe_z1.2_r80_g8n4.csv")
SLOTS = ["--replicas", "80", "--groups", "8", "--nodes", "4", "--gpus", "16"]


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["moe-mapping", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_place_prints_only_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "place", "--loads", LOADS, *SLOTS, "--json")
    answer = json.loads(out)
    assert code == 0 and not err
    assert 1.0 <= answer["balance_mean"] <= 1.0026
    assert answer["balance_mean"] <= answer["balance_max"] == max(answer["balance"])
    assert answer["replicas"] == 80 and answer["seconds"] > 0
    slots = np.array(answer["phy2log"])
    assert slots.shape == (16, 80)
    assert (np.bincount(slots[0], minlength=64) == answer["copies"][0]).all()


def test_place_follows_the_policy_that_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("place", "--loads", LOADS, *SLOTS, "--policy", "eplb")
    code, out, _ = run(capsys, monkeypatch, *words)
    assert code == 0
    assert "balance_mean         1.99091" in out


def test_compare_lists_all_policies_best_first_and_draws_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figure = tmp_path / "mesh.svg"
    words = ("compare", "--loads", LOADS, *SLOTS, "--figure", str(figure), "--json")
    code, out, _ = run(capsys, monkeypatch, *words)
    rows = json.loads(out)
    assert code == 0
    assert {"auto", "eplb_hierarchical", "round_robin"} <= {row["policy"] for row in rows}
    means = [row["balance_mean"] for row in rows]
    assert means == sorted(means) and rows[0]["policy"] == "auto"
    assert "<svg" in figure.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [figure]


def test_reference_shows_the_published_figures_beside_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("reference", str(DATA), "--policy", "eplb_global", "--json")
    code, out, _ = run(capsys, monkeypatch, *words)
    rows = json.loads(out)
    assert code == 0 and len(rows) == 7
    assert all(row["balance_mean"] == pytest.approx(row["eplb_mean"], abs=1e-5) for row in rows)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1,2\n3,nan\n", ["--replicas", "2"], "expert 1 in layer 1 is not a finite number"),
        ("1,2\n3,-4\n", ["--replicas", "2"], "negative"),
        ("0,0\n", ["--replicas", "2"], "all loads of layer 0 are zero"),
        ("1,2\n3\n", ["--replicas", "2"], "every layer needs a load for every expert"),
        ("1,x\n", ["--replicas", "2"], "loads.csv:1: a load is not a number in column 2"),
        ("1,2\n\n3,\n", ["--replicas", "2"], "loads.csv:3: a load is not a number in column 2"),
        ("1;2\n", ["--replicas", "2"], "(found '1;2'); allowed: numbers separated by commas"),
        ("1_0,2\n", ["--replicas", "2"], "(found '1_0')"),
        ('1,2\n"3,4\n' + "5,6\n" * 50_000, ["--replicas", "2"], "loads.csv:2: a load is not"),
        ("x" * 140_000, ["--replicas", "2"], "loads.csv:1: a load is not a number"),
        ("1e308,1e308\n", ["--replicas", "2"], "expert 0 in layer 0 is out of the range"),
        ("1,2\n3,1e-320\n", ["--replicas", "2"], "expert 1 in layer 1 is out of the range"),
        ("", ["--replicas", "2"], "the file of loads is empty"),
        ("1,2,3,4\n", ["--replicas", "3"], "1 short"),
        ("1,2,3,4\n", ["--replicas", "5", "--gpus", "2"], "5 slots do not divide"),
        ("1,2,3,4\n", ["--groups", "3"], "4 experts do not divide"),
        ("1,2,3,4\n", ["--policy", "lptt"], "did you mean 'lpt'"),
        ("1,2,3,4\n", ["--gpus", "0"], "devices must be at least 1"),
        ("1,2,3,4\n", ["--chip", "isaac"], "--chip and --trace go together"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    options: list[str],
    message: str,
) -> None:
    path = tmp_path / "loads.csv"
    path.write_text(text, encoding="utf-8")
    code, out, err = run(capsys, monkeypatch, "place", "--loads", str(path), *options)
    assert code == 2 and not out
    assert message in err and len(err.strip().splitlines()) == 1


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A skewed routing trace of the bundled OLMoE model's shape."""
    draw = np.random.default_rng(0)
    popularity = 1.0 / np.arange(1, 65) ** 1.2
    noise = draw.gumbel(size=(256, 4, 64)) + np.log(popularity)
    path = tmp_path / "trace.npz"
    np.savez(path, experts=np.argsort(-noise, axis=2)[:, :, :8].astype(np.int16), n_experts=64)
    return path


def test_a_trace_is_placed_on_a_chip(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trace: Path,
    tmp_path: Path,
) -> None:
    figure = tmp_path / "mesh.png"
    words = ("compare", "--chip", "isaac", "--trace", str(trace), "--json")
    code, out, _ = run(capsys, monkeypatch, *words, "--figure", str(figure))
    rows = {row["policy"]: row for row in json.loads(out)}
    assert code == 0 and figure.stat().st_size > 1000
    best = rows["auto"]
    assert all(best["objective"] <= row["objective"] for row in rows.values())
    assert best["slowest_tile_ps"] < 0.6 * rows["round_robin"]["slowest_tile_ps"]
    assert 1.0 <= best["slowest_over_bound"] < 1.0 / 0.9
    words = ("place", "--chip", "isaac", "--trace", str(trace), "--json")
    answer = json.loads(run(capsys, monkeypatch, *words)[1])
    assert answer["objective"] == best["objective"]
    assert sum(part[1] for part in answer["copies"]["0.experts.0"][0]) > 0


def test_a_trace_of_another_model_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "trace.npz"
    experts = np.tile(np.arange(8), (5, 4, 1))
    for name, array, says in (
        ("other layers", experts[:, :3], "found '3 MoE layers, top-8'"),
        ("other top-k", experts[:, :, :1], "found '4 MoE layers, top-1'"),
        ("dropped", experts - 1, "token 0 of the routing trace visits an expert that the model"),
        ("another expert", experts + 57, "(found 64); allowed: 0 to 63"),
    ):
        np.savez(path, experts=array)
        words = ("place", "--chip", "isaac", "--trace", str(path))
        code, out, err = run(capsys, monkeypatch, *words)
        assert code == 2 and not out and says in err, name
        assert len(err.strip().splitlines()) == 1
        words = ("remap", "--chip", "isaac", "--trace", str(path), "--now", str(path))
        assert run(capsys, monkeypatch, *words)[::2] == (2, err), name


def test_an_idle_last_expert_is_placed_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "trace.npz"
    np.savez(path, experts=np.tile(np.arange(8), (5, 4, 1)))  # experts 8 to 63 are idle
    words = ("place", "--chip", "isaac", "--trace", str(path), "--policy", "round_robin")
    code, out, _ = run(capsys, monkeypatch, *words, "--json")
    copies = json.loads(out)["copies"]
    assert code == 0
    assert {f"{layer}.experts.{e}" for layer in range(4) for e in range(64)} <= set(copies)


def test_loads_are_read_as_spreadsheets_save_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = []
    for text in (b"10,20,30,40\n4,3,2,1\n", b'\xef\xbb\xbf10,20,30,40\r\n\r\n"4",3, 2,1e0\r\n'):
        (tmp_path / "loads.csv").write_bytes(text)
        words = ("place", "--loads", str(tmp_path / "loads.csv"), "--replicas", "8", "--gpus", "4")
        code, out, _ = run(capsys, monkeypatch, *words, "--json")
        assert code == 0
        answers.append({k: v for k, v in json.loads(out).items() if "seconds" not in k})
    assert answers[0] == answers[1]
    assert len(answers[0]["copies"]) == 2


def test_reference_instances_are_read_or_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "eplb_reference.csv"
    head = "instance,slots,groups,nodes,devices,eplb_mean,eplb_global_mean,lower_bound_mean\n"
    (tmp_path / "loads").mkdir()
    (tmp_path / "loads" / "a.csv").write_text("1,2\n")
    path.write_text("\ufeff" + head + "a,4,1,1,2,1.5,1.25,1\n", "utf-8")
    code, out, _ = run(capsys, monkeypatch, "reference", str(tmp_path), "--json")
    row = json.loads(out)[0]
    assert code == 0 and row["instance"] == "a" and row["replicas"] == 4
    assert (row["eplb_mean"], row["bound_mean"]) == (1.25, 1.0)
    for text, says in (
        (head + "a,4,1,1,two,1.5,1.25,1\n", "eplb_reference.csv:2: a number is missing or"),
        (head + "a,4,1,1\n", "eplb_reference.csv:2: a number is missing or malformed"),
        (head.replace("slots", "slot") + "a,4,1,1,2,1.5,1.25,1\n", "slots: a column is missing"),
        (head, "names no instance"),
    ):
        path.write_text(text, "utf-8")
        code, out, err = run(capsys, monkeypatch, "reference", str(tmp_path), "--json")
        assert code == 2 and not out and says in err
        assert len(err.strip().splitlines()) == 1


def test_missing_file_and_missing_option_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "place", "--loads", "nowhere.csv")
    assert code == 2 and "nowhere.csv" in err
    code, _, err = run(capsys, monkeypatch, "place")
    assert code == 2 and "--loads is missing" in err


def test_equal_loads_and_a_single_expert_are_fine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text, options in (("5,5,5,5\n", ["--gpus", "2"]), ("3\n", [])):
        path = tmp_path / "loads.csv"
        path.write_text(text, encoding="utf-8")
        code, out, _ = run(capsys, monkeypatch, "place", "--loads", str(path), *options, "--json")
        assert code == 0 and json.loads(out)["balance_mean"] == pytest.approx(1.0)


def test_import_brings_in_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, moe_mapping, moe_mapping.testing, moe_mapping.remap, moe_mapping.table;"
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_drift_is_followed_with_few_moves_and_its_cost_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draw = np.random.default_rng(1)
    popularity = 1.0 / np.arange(1, 65) ** 1.2
    paths = []
    for day, order in enumerate((np.arange(64), np.roll(np.arange(64), 5))):
        noise = draw.gumbel(size=(256, 4, 64)) + np.log(popularity[order])
        experts = np.argsort(-noise, axis=2)[:, :, :8].astype(np.int16)
        paths.append(tmp_path / f"day{day}.npz")
        np.savez(paths[-1], experts=experts, n_experts=64)
    words = ("remap", "--chip", "isaac", "--trace", str(paths[0]), "--now", str(paths[1]))
    code, out, _ = run(capsys, monkeypatch, *words, "--json")
    stay, few, weighed, many = rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == ["stay", "remap", "weigh", "solve"]
    assert weighed["crossbars"] < many["crossbars"]
    assert stay["gain_ps"] == stay["moves"] == stay["write_ps"] == 0
    assert 0 < few["moves"] <= 0.25 * many["moves"]
    assert few["slowest_tile_ps"] <= 1.05 * many["slowest_tile_ps"]
    assert few["gain_ps"] == pytest.approx(stay["slowest_tile_ps"] - few["slowest_tile_ps"])
    assert few["payback_windows"] == pytest.approx(few["write_ps"] / few["gain_ps"])
    assert few["cells"] > 0 and few["fetched_bytes"] > 0 and few["write_j"] > 0
    code, out, _ = run(capsys, monkeypatch, *words, "--moves", "0")
    assert code == 0 and "remap" in out


def test_a_model_that_does_not_fit_is_told_the_exact_shortfall(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: Path, tmp_path: Path
) -> None:
    chip = tmp_path / "small.yaml"
    chip.write_text("extends: isaac\nname: small\nchip: {tiles: 2}\n", encoding="utf-8")
    words = ("place", "--chip", str(chip), "--trace", str(trace))
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 2 and not out and len(err.strip().splitlines()) == 1
    need, have, short = map(int, re.findall(r"\d+", err.split("the model needs")[1])[:3])
    assert need - have == short > 0


def test_a_drift_needs_a_limit_that_makes_sense(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: Path
) -> None:
    words = ("remap", "--chip", "isaac", "--trace", str(trace), "--now", "nowhere.npz")
    code, _, err = run(capsys, monkeypatch, *words)
    assert code == 2 and "nowhere.npz" in err
    code, _, err = run(capsys, monkeypatch, *words[:-1], str(trace), "--slack", "-1")
    assert code == 2 and "--slack" in err
