"""Modules, functions and argument lists stay short enough to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cimsim", "moe_mapping", "romer")
MODULE_LINES, FUNCTION_LINES, ARGUMENTS = 400, 60, 8
# Compiled code: a call or a tuple costs there. Long kernels say beside them why.
KERNELS = {"njit", "cached", "kernel", "inner", "inlined", "allocating", "intrinsic", "jit"}
REASON = "# Long:"
# A typer command has one argument an option: its signature is the command line.
COMMAND_LINES = ("cimsim/cli/",)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, ast.Module]:
    files = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    return {str(p.relative_to(ROOT)): ast.parse(p.read_text(encoding="utf-8")) for p in files}


def _is_kernel(function: Function) -> bool:
    calls = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return any(getattr(d, "attr", getattr(d, "id", "")) in KERNELS for d in calls)


def _excused(path: str, function: Function) -> bool:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    around = lines[max(0, first - 3) : function.end_lineno]
    return _is_kernel(function) and any(REASON in line for line in around)


def _arguments(function: Function) -> int:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([n for n in names if n not in {"self", "cls"}])


def _too_large() -> Iterator[str]:
    for path, tree in sources().items():
        if len((ROOT / path).read_text(encoding="utf-8").splitlines()) > MODULE_LINES:
            yield path
        for node in ast.walk(tree):
            if not isinstance(node, Function):
                continue
            command = path.startswith(COMMAND_LINES)
            first = node.body[0].lineno if command else node.lineno
            lines = (node.end_lineno or 0) - first + 1
            many = _arguments(node) > ARGUMENTS and not command
            if (lines > FUNCTION_LINES and not _excused(path, node)) or (
                many and not _is_kernel(node)
            ):
                yield f"{path}:{node.name}"


def test_nothing_is_too_large() -> None:
    assert not set(_too_large())
