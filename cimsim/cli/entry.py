"""How every command line of the project ends: messages and exit codes.

0 done, 1 the simulation failed, 2 bad input, 3 our bug, 130 interrupted, 143 terminated, 129 the
terminal went away. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import typer

from cimsim.errors import CimsimError
from cimsim.plugins import failed_in_plugin
from cimsim.printable import printable, shortened
from cimsim.text_file import OUT_OF_PLACE, unusable

__all__ = ["new_app", "run_app"]

FAILED = 1
BUG = 3
NO_MEMORY = "there is not enough memory for this; fewer --jobs or a smaller chip need less"
NO_DEVICE_MEMORY = (
    "the device has not enough memory left for this: other programs may have taken it since the "
    "start; fewer --jobs need less, and run.device_gb says what a run may take"
)
# How the dynamic linker says that the code of a module found no room.
NOT_MAPPED = "failed to map segment from shared object"
PROCESS_SETTINGS = (
    # One BLAS thread per process: parallelism is over chips, and the sums stay ordered.
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    # Workers give the memory of large arrays back to the system (glibc; others ignore it).
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "4194304"),
)
# The family of typer's complaints about the command line: typer carries its own click in
# some versions and uses the installed one in others, so the class is found by its name.
UsageError: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)


class _Shown:
    """A stdout that writes out what no terminal should be sent, whoever printed it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write("\n".join(map(printable, text.split("\n"))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def new_app(help_text: str) -> typer.Typer:
    """Return an empty command line in the project's style."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run_app(app: Callable[..., object], program: str) -> NoReturn:
    """Run a command line and exit with the project's codes.

    Raises:
        KeyboardInterrupt: passed on; `own_process` says which signal it was.
    """
    _open_streams()
    # Figures need none, and with one that is not installed matplotlib cannot be imported.
    os.environ.pop("MPLBACKEND", None)
    for name, value in PROCESS_SETTINGS:
        os.environ.setdefault(name, value)
    with redirect_stdout(cast("TextIO", _Shown(sys.stdout))):
        code = _run(app, program)
    sys.exit(code)


def _open_streams() -> None:
    """See to it that there is a stdout and a stderr, and that names which they lack can be shown.

    A stream that the shell has closed is None; the next file that is opened would take its number.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
    if sys.stdout is None:
        _say("error: stdout is closed: results have nowhere to go")
        sys.exit(FAILED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(app: Callable[..., object], program: str) -> int:  # noqa: PLR0911 - one return an exit code
    try:
        code = app(prog_name=program, standalone_mode=False)
        sys.stdout.flush()  # here, where what goes wrong becomes a sentence
    except typer.Exit as stop:
        return _flushed(int(stop.exit_code))
    except UsageError as error:
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        _say(f"error: {shortened(' '.join(text.split()), 500)}")
        return 2
    except typer.Abort as stop:  # what typer makes of an interrupt, and of an EOFError
        if isinstance(stop.__cause__, EOFError):
            return _bug(stop.__cause__)
        raise KeyboardInterrupt from stop
    except CimsimError as error:
        return _refused(error)
    except (BrokenPipeError, SystemExit) as error:
        # Typer turns a closed pipe into SystemExit(1), which here means a failed simulation.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            if foreign := failed_in_plugin(error):
                return _refused(foreign)
            raise
        # The reader of our output went away: nothing to say and nobody to say it to.
        _discard_stdout()
        return 0
    except OSError as error:
        return _environment(error)
    except Exception as error:  # the last border: anything else is our bug
        if missing := _missing_memory(error):
            _say(f"error: {missing}")
            return FAILED
        foreign = failed_in_plugin(error)
        return _bug(error) if foreign is None else _refused(foreign)
    return int(code) if isinstance(code, int) else 0


def _missing_memory(error: Exception) -> str | None:
    """Say whose memory an error is about, None if it is about none."""
    if isinstance(error, MemoryError) or NOT_MAPPED in str(error):
        return NO_MEMORY
    # By its name: torch is not imported to ask.
    return NO_DEVICE_MEMORY if type(error).__name__ == "OutOfMemoryError" else None


def _refused(error: CimsimError) -> int:
    _say(f"error: {error.sentence()}")
    return error.exit_code


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        return _environment(error)
    return code


def _environment(error: OSError) -> int:
    """Say what the system refused: a file by its name, and else what is written to stdout."""
    if error.errno is None:
        return _bug(error)
    if error.filename is not None:
        _say(f"error: {unusable(error, Path(os.fsdecode(error.filename))).sentence()}")
        return FAILED if error.errno in OUT_OF_PLACE else CimsimError.exit_code
    _say(f"error: the system refused to go on, or stdout cannot be written: {error.strerror}")
    _discard_stdout()
    return FAILED


def _discard_stdout() -> None:
    """Let Python's own last flush write into nothing."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _bug(error: Exception) -> int:
    for line in "".join(traceback.format_exception(error)).splitlines():
        print(printable(line), file=sys.stderr)
    _say(
        f"error: this is a bug in cimsim ({type(error).__name__}: {error}); please report it with "
        "the lines above and the run's manifest.json"
    )
    return BUG


def _say(text: str) -> None:
    with suppress(OSError):  # nobody is left to hear it
        print(printable(text), file=sys.stderr)
