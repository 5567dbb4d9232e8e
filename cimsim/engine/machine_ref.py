"""The tables of a run as one pointer that kernels pass on.

Kernels that take forty arrays by value spend their time copying and counting references, and
the compiler most of its own. `Machine` is one pointer to them, on the stack of the kernel that
called `borrow`; reading an array costs a load, and nobody counts references, because the
tables' owner outlives that kernel.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-return"
# mypy: disable-error-code="assignment,override,attr-defined"

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from numba.core import cgutils, imputils, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    register_model,
)

from cimsim.engine.machine import Tables

__all__ = ["Machine", "borrow"]


class Machine:
    """Fields of `Tables` by reference; made by `borrow`, read in kernels only."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class MachineType(types.Type):
    """Numba's type of `Machine`, one for each type of tables.

    Attributes:
        tables: Numba's type of the tables.
    """

    def __init__(self, tables: Any) -> None:
        self.tables = tables
        # Types name functions, in every module that uses them: the name of the tables' type
        # has some thousand characters.
        super().__init__(f"Machine({sha256(str(tables).encode()).hexdigest()[:16]})")


@register_model(MachineType)
class _MachineModel(models.OpaqueModel):
    """A pointer."""


@infer_getattr
class _Fields(AttributeTemplate):
    key = MachineType

    def generic_resolve(self, machine, name):
        tables = machine.tables
        return tables.types[tables.fields.index(name)] if name in tables.fields else None


@lower_getattr_generic(MachineType)
def _load(context, builder, machine, value, name):
    tables = machine.tables
    at = tables.fields.index(name)
    pointer = builder.bitcast(value, context.get_value_type(tables).as_pointer())
    field = builder.load(cgutils.gep_inbounds(builder, pointer, 0, at))
    return imputils.impl_ret_borrowed(context, builder, tables.types[at], field)


def _bare(context, builder, kind, value):
    """Return an array, or a tuple of some, without its owner."""
    if isinstance(kind, types.BaseTuple):
        for at, member in enumerate(kind.types):
            bare = _bare(context, builder, member, builder.extract_value(value, at))
            value = builder.insert_value(value, bare, at)
        return value
    view = context.make_array(kind)(context, builder, value=value)
    view.meminfo = cgutils.get_null_value(view.meminfo.type)
    view.parent = cgutils.get_null_value(view.parent.type)
    return view._getvalue()


def _borrow(_context, tables):
    """Return a `Machine`: the tables without owners, on the stack of the kernel that calls.

    Args:
        tables: `Tables`, which must outlive that kernel.
    """

    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        pointer = cgutils.alloca_once(builder, context.get_value_type(kind))
        for at, member in enumerate(kind.types):
            bare = _bare(context, builder, member, builder.extract_value(arguments[0], at))
            builder.store(bare, cgutils.gep_inbounds(builder, pointer, 0, at))
        return builder.bitcast(pointer, cgutils.voidptr_t)

    return MachineType(tables)(tables), codegen


borrow: Callable[[Tables], Machine] = intrinsic(_borrow)
"""See `_borrow`."""
