"""Signals end a command with its code and one word, in every phase of its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

ENDS = {
    signal.SIGTERM: (143, "terminated"),
    signal.SIGHUP: (129, "hung up"),
    signal.SIGINT: (130, "interrupted"),
}
PROGRAMS = ("cimsim", "moe_mapping", "romer")
SEND = "import atexit, os, signal, sys, time\nsend = lambda: os.kill(os.getpid(), {})\n"
WAIT = "time.sleep(60)\n"
# The module of a command line, by the phase in which the signal comes.
PHASES = {
    "import": SEND + "send()\n" + WAIT,
    "an import that hides what goes wrong": SEND + "try: send(); time.sleep(60)\n"
    "except BaseException: pass\ndef main(): sys.exit(0)\n",
    "work": SEND + "def main():\n send()\n " + WAIT,
    "work, twice": SEND + "def main():\n"
    " try:\n  send(); time.sleep(60)\n finally:\n  send(); time.sleep(0.1)\n",
    "a failure": SEND + "def main():\n"
    " try:\n  send(); time.sleep(60)\n except BaseException as e: raise OSError from e\n",
    "an error that hides the interrupt": SEND + "from cimsim.cli.entry import new_app, run_app\n"
    "app = new_app('test')\n"
    "@app.command()\n"
    "def line():\n"
    " try:\n  send(); time.sleep(60)\n except BaseException as e: raise ValueError(e) from None\n"
    "def main(): run_app(app, 'cimsim')\n",
    "a destructor": SEND + "class D:\n def __del__(self): send(); time.sleep(0.1)\n"
    "def main():\n D()\n " + WAIT,
    "exit": SEND + "def main():\n atexit.register(send)\n sys.exit(1)\n",
    "exit that hangs": SEND + "def late():\n send(); time.sleep(1.1); send(); time.sleep(60)\n"
    "def main():\n atexit.register(late)\n sys.exit(1)\n",
}


def process(folder: Path, module: str, **options: object) -> subprocess.Popen[str]:
    (folder / "line.py").write_text(module)
    code = "from cimsim.cli.own_process import own_process; own_process('line')"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_foreground,  # noqa: PLW1509 - Popen comes before any thread
        **options,  # type: ignore[call-overload]
    )


def _foreground() -> None:
    """What a shell in the foreground gives, whoever runs the tests."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", ENDS, ids=lambda n: n.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_ends_a_command_with_its_code_in_every_phase(
    phase: str, number: signal.Signals, tmp_path: Path
) -> None:
    begun = time.monotonic()
    with process(tmp_path, PHASES[phase].format(int(number))) as line:
        out, err = line.communicate(timeout=50)
    assert line.returncode == ENDS[number][0], err
    if phase != "exit that hangs":
        assert err == ENDS[number][1] + "\n"
    assert out == ""
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("number", ENDS, ids=lambda n: n.name)
def test_a_signal_while_python_ends_leaves_the_code_of_the_command(
    number: signal.Signals, tmp_path: Path
) -> None:
    module = SEND + "import builtins\nclass D:\n def __del__(self): print('here'); send()\n"
    module += "def main():\n builtins.kept = D()\n sys.exit(1)\n"
    with process(tmp_path, module.format(int(number))) as line:
        out, err = line.communicate(timeout=50)
    assert (line.returncode, out, err) == (1, "here\n", "")


def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    module = SEND + "def main():\n send()\n print('went on')\n"
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "os.execv(sys.executable, [sys.executable, '-c',"
        "'from cimsim.cli.own_process import own_process; own_process(\"line\")'])"
    )
    (tmp_path / "line.py").write_text(module.format(int(signal.SIGHUP)))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_a_command_within_another_process_leaves_its_signals_alone() -> None:
    code = (
        "import signal, sys\n"
        "before = [signal.getsignal(n) for n in (2, 15)]\n"
        "from cimsim.cli import main\n"
        "sys.argv = ['cimsim', 'schema']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert [signal.getsignal(n) for n in (2, 15)] == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_an_end_of_file_within_a_command_is_no_interrupt(tmp_path: Path) -> None:
    module = (
        "from cimsim.cli.entry import new_app, run_app\n"
        "def main():\n"
        " app = new_app('test')\n"
        " @app.command()\n"
        " def broken(): raise EOFError('here')\n"
        " run_app(app, 'cimsim')\n"
    )
    with process(tmp_path, module) as line:
        _, err = line.communicate(timeout=50)
    assert line.returncode == 3
    assert "this is a bug in cimsim (EOFError: here)" in err


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_line_takes_its_signals_before_it_imports(
    program: str, tmp_path: Path
) -> None:
    (tmp_path / "typer.py").write_text((SEND + "send()\n" + WAIT).format(int(signal.SIGTERM)))
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_little_is_imported_before_signals_are_taken(program: str) -> None:
    """``python -m`` imports the package before it carries out what takes the signals."""
    code = (
        f"import sys; before = set(sys.modules); import {program}, cimsim.cli.own_process\n"
        "after = set(sys.modules) - before\n"
        "print(*sorted(m for m in after if m.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    library = {f"cimsim{m}" for m in ("", ".errors", ".printable", ".cli", ".cli.own_process")}
    assert set(done.stdout.split()) <= {program, *library}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_public_name_stays_what_it_is_whatever_was_imported_before(program: str) -> None:
    package = import_module(program)
    modules = {module.name for module in iter_modules(package.__path__)}
    assert modules.isdisjoint(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match=f"module '{program}' has no attribute 'nothing'"):
        _ = package.nothing
