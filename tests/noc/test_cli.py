"""``cimsim noc``: rows, order, streams, and bad input."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from cimsim.cli.noc import register
from cimsim.engine.noc.request import read_hotspots, read_mesh, read_rates
from cimsim.errors import CimsimError


def call(*words: str) -> tuple[str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def test_json_rows_are_alone_on_stdout_in_the_order_of_the_rates() -> None:
    out, _ = call("--mesh", "3x3", "--rates", "0.3,0.1,0.2", "--runs", "2", "--json")
    rows = json.loads(out)
    assert [row["offered"] for row in rows] == [0.3, 0.1, 0.2]
    for row in rows:
        assert row["accepted"] == pytest.approx(row["offered"], rel=0.1)
        assert row["latency_mean"] < row["latency_p99"]
        assert row["hops"] == pytest.approx(2 * 8 / 9 + 1, rel=0.05)
        assert row["stable"] is True


def test_the_table_has_a_line_a_rate() -> None:
    out, _ = call("--mesh", "2x2", "--rates", "0.1,0.2", "--runs", "1")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["offered", "accepted", "latency_mean"]
    assert [line.split()[0] for line in lines[1:]] == ["0.1", "0.2"]


def test_an_unstable_rate_warns_on_stderr_only() -> None:
    out, err = call("--mesh", "4x4", "--rates", "1.0", "--flits", "8", "--json")
    assert json.loads(out)[0]["stable"] is False
    assert "unstable" in err


def test_hotspots_draw_traffic_to_themselves() -> None:
    words = ("--mesh", "4x4", "--rates", "0.1", "--runs", "2", "--json")
    near = json.loads(call(*words, "--traffic", "hotspot", "--hotspots", "5:0.9")[0])[0]
    corner = json.loads(call(*words, "--traffic", "hotspot", "--hotspots", "0:0.9")[0])[0]
    assert near["hops"] < corner["hops"] - 0.5


@pytest.mark.parametrize(
    "words",
    [
        ("--mesh", "4y4"),
        ("--mesh", "0x4"),
        ("--topology", "rings"),
        ("--topology", "ring", "--mesh", "3x3"),
        ("--concentration", "4"),
        ("--traffic", "tornadoo"),
        ("--traffic", "hotspot"),
        ("--hotspots", "1:0.5"),
        ("--rates", ","),
        ("--rates", "0.1,x"),
        ("--rates", "0.1,nan"),
        ("--rates", "-0.1"),
        ("--flits", "0"),
        ("--vcs", "0"),
        ("--buffer", "0"),
        ("--topology", "torus", "--vcs", "1"),
        ("--seed", "-1"),
        ("--cycles", "10"),
        ("--runs", "0"),
        ("--period", "0"),
    ],
    ids=" ".join,
)
def test_bad_input_is_named_before_anything_runs(words: tuple[str, ...]) -> None:
    with pytest.raises(CimsimError) as error:
        call(*words)
    assert error.value.key is not None
    assert error.value.exit_code == 2


def test_strings_are_read() -> None:
    assert read_mesh("4x2", "cmesh", None).concentration == 4
    assert read_rates(" 0.2, 0.1") == [0.2, 0.1]
    assert read_hotspots("3:0.5, 0:.25") == {3: 0.5, 0: 0.25}
    for text in ("3", "a:0.1", "3:x", "3:0.1,3:0.2"):
        with pytest.raises(CimsimError, match="hotspot"):
            read_hotspots(text)
