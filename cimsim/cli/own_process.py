"""How a command line ends as a process of its own: what signals do to it, from first to last.

SIGINT, SIGTERM and SIGHUP end a command as Ctrl-C does, with 130, 143 and 129: while it imports,
while it works, and while Python lets go of what it holds. From the signal on nothing is said but
its one word: libraries make errors of their own of an interrupt, and those are nobody's bug. Who
carries out a command in a process of their own making (`cimsim.cli.main`) keeps their signals.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from threading import Timer, main_thread
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["cimsim", "moe_mapping", "own_process", "romer"]

INTERRUPTED = 130
SAID = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
SAME_S = 1.0  # `timeout` and service managers send a signal to a process and then to its group
AGAIN_S = 0.05


def cimsim() -> NoReturn:
    """The command `cimsim`."""
    own_process("cimsim.cli")


def moe_mapping() -> NoReturn:
    """The command `moe-mapping`."""
    own_process("cimsim.cli.moe_mapping")


def romer() -> NoReturn:
    """The command `romer`."""
    own_process("cimsim.cli.romer")


def own_process(module: str) -> NoReturn:
    """Carry out the command line of a module (its `main`) and end the process."""
    signals = _Signals()
    code: int | str | None = 0
    try:
        try:
            signals.take()
            import_module(module).main()
        finally:
            signals.over = True
    except KeyboardInterrupt:
        code = INTERRUPTED
        if signals.received is None:
            _say(SAID["SIGINT"])
    except SystemExit as stop:
        code = stop.code
    sys.exit(code)


class _Signals:
    """Takes the signals of a process, for good: they are never given back to what ends it at once.

    Attributes:
        received: the first that came.
        over: the command has ended; Python still runs what others want done at exit.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.over = False
        self._last_s = -SAME_S
        self._taken: list[signal.Signals] = []
        self._stderr = sys.stderr

    def take(self) -> None:
        """Take every signal but those that are ignored, as `nohup` wants it."""
        # Registered first, so carried out last.
        atexit.register(self._leave)
        sys.unraisablehook = self._unraisable
        for name in SAID:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end)
                self._taken.append(number)

    def _end(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.received is not None and now_s - self._last_s < SAME_S:
            return
        if self.received is not None and self.over:
            os._exit(128 + number)  # what is done at exit hangs
        self.received, self._last_s = self.received or signal.Signals(number), now_s
        if not self.over:
            sys.stderr = io.StringIO()
            raise KeyboardInterrupt

    def _unraisable(self, lost: UnraisableHookArgs) -> None:
        """Send an interrupt again that came inside a destructor, from where it ends nothing."""
        received, thread = self.received, main_thread().ident
        if not issubclass(lost.exc_type, KeyboardInterrupt) or received is None:
            sys.__unraisablehook__(lost)
        elif thread is not None and hasattr(signal, "pthread_kill"):
            self._last_s = -SAME_S
            again = Timer(AGAIN_S, signal.pthread_kill, (thread, received))
            again.daemon = True
            again.start()

    def _leave(self) -> None:
        # Python resets handlers of ours while it ends; a signal that is ignored stays so.
        for number in self._taken:
            signal.signal(number, signal.SIG_IGN)
        if self.received is None:
            return
        sys.stderr = self._stderr
        _say(SAID[self.received.name])
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it
                stream.flush()
        os._exit(128 + self.received)


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr)
