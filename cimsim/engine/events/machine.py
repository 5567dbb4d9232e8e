"""The tables of a run as one pointer that kernels pass on.

Kernels that take forty arrays by value spend their time copying and counting references, and
the compiler most of its own. A `Machine` is the address of one structure that holds them all:
reading an array costs a load, and nobody counts references, because the `Machine` that Python
holds keeps the tables alive.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-return"
# mypy: disable-error-code="assignment,override,attr-defined"

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
from numba import typeof
from numba.core import cgutils, imputils, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from cimsim.engine.events.tables import Tables

__all__ = ["Machine"]


class Machine:
    """Tables by reference; its attributes are those of `Tables`, in kernels only.

    Args:
        tables: of one run.
    """

    def __init__(self, tables: Tables) -> None:
        self._owner = tables
        self._memory = np.array(list(_words(tables)), dtype=np.int64)
        self._address = int(self._memory.ctypes.data)
        self._numba_type_ = MachineType(typeof(tables))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _words(tables: tuple[Any, ...]) -> Iterator[int]:
    """Yield the words of Numba's structures of arrays, one after another, without their owners."""
    for table in tables:
        if isinstance(table, tuple):
            yield from _words(table)
        else:  # owner, parent, entries, bytes of one, address, shape, strides
            yield from (0, 0, table.size, table.itemsize, table.ctypes.data)
            yield from (*table.shape, *table.strides)


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


@typeof_impl.register(Machine)
def _typeof(machine, _context):
    return machine._numba_type_


@register_model(MachineType)
class _MachineModel(models.OpaqueModel):
    """A pointer."""


@unbox(MachineType)
def _unbox(_kind, value, context):
    address = context.pyapi.object_getattr_string(value, "_address")
    pointer = context.pyapi.long_as_voidptr(address)
    context.pyapi.decref(address)
    return NativeValue(pointer)


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
