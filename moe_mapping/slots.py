"""Expert slots on devices: the placement problem as EPLB states it.

Every device (a GPU, or a tile cluster) has the same number of slots, a slot holds one
expert of a layer, and layers are placed independently. One layer becomes one
`MappingProblem` with unit-sized experts, so that every policy serves here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.errors import CimsimError
from moe_mapping.assignment import Assignment
from moe_mapping.balance import fill_spare
from moe_mapping.plan import allow_twins, arrays_of, assignment_of, plan_of
from moe_mapping.problem import MappingProblem, Weights, no_traffic
from moe_mapping.registry import solve

__all__ = ["SlotPlan", "SlotShape", "check_loads", "layer_problem", "place_slots"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
LARGEST_LOAD = 1e300  # with room for sums over experts and for quotients


@dataclass(frozen=True)
class SlotShape:
    """Slots of one layer and where they are.

    Attributes:
        slots: physical slots of all devices together.
        groups: expert groups; equal runs of expert numbers.
        nodes: nodes; equal runs of device numbers.
        devices: devices; equal runs of slot numbers.
    """

    slots: int
    groups: int = 1
    nodes: int = 1
    devices: int = 1

    def check(self, experts: int) -> None:
        """Check that everything divides and all experts fit.

        Raises:
            CimsimError: naming the two numbers that do not go together.
        """
        for name in ("slots", "groups", "nodes", "devices"):
            if getattr(self, name) < 1:
                raise CimsimError(f"{name} must be at least 1", key=name, value=getattr(self, name))
        if self.slots < experts:
            raise CimsimError(
                f"{experts} experts need at least {experts} slots and {self.slots} are "
                f"available: {experts - self.slots} short"
            )
        for what, amount, over, count in (
            ("slots", self.slots, "devices", self.devices),
            ("experts", experts, "groups", self.groups),
            ("devices", self.devices, "nodes", self.nodes),
        ):
            if amount % count:
                raise CimsimError(f"{amount} {what} do not divide evenly over {count} {over}")
        if self.groups > 1 and self.nodes > 1 and self.groups % self.nodes:
            raise CimsimError(
                f"{self.groups} groups do not divide evenly over {self.nodes} nodes",
                hint="use 1 group if experts may go to any node",
            )


@dataclass(frozen=True, eq=False)
class SlotPlan:
    """Where the experts of every layer sit.

    Attributes:
        phy2log: int64 [layers, slots], expert in every slot; a device's slots are adjacent.
        log2phy: int64 [layers, experts, most copies], slots of an expert, -1 beyond.
        replicas: int64 [layers, experts], copies of every expert.
        balance: [layers], slowest / mean device load.
    """

    phy2log: Ints
    log2phy: Ints
    replicas: Ints
    balance: Floats

    def duplicates(self, devices: int) -> int:
        """Count copies that share a device with an earlier copy of the same expert."""
        per_device = self.phy2log.reshape(self.phy2log.shape[0], devices, -1)
        ordered = np.sort(per_device, axis=-1)
        return int((ordered[..., 1:] == ordered[..., :-1]).sum())


def check_loads(loads: ArrayLike) -> Floats:
    """Return loads as float64 [layers, experts].

    Raises:
        CimsimError: for the wrong shape, NaN, infinite or negative values, values whose sums
            and quotients double precision does not hold, or a layer whose loads are all zero.
    """
    try:
        array = np.asarray(loads, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CimsimError("loads must be numbers, a row per layer, a column per expert") from error
    if array.ndim != 2 or not array.size:
        raise CimsimError(
            "loads must be a table with a row per layer and a column per expert", value=array.shape
        )
    extreme = (array > LARGEST_LOAD) | ((array > 0) & (array < 1.0 / LARGEST_LOAD))
    for wrong, what in (
        (~np.isfinite(array), "not a finite number"),
        (array < 0, "negative"),
        (extreme, "out of the range that can be computed with"),
    ):
        if wrong.any():
            layer, expert = (int(i) for i in np.argwhere(wrong)[0])
            raise CimsimError(
                f"the load of expert {expert} in layer {layer} is {what}",
                value=float(array[layer, expert]),
                allowed=f"0, or {1.0 / LARGEST_LOAD:g} to {LARGEST_LOAD:g}",
            )
    idle = np.flatnonzero(array.sum(axis=1) == 0)
    if idle.size:
        raise CimsimError(f"all loads of layer {int(idle[0])} are zero")
    return array


def layer_problem(loads: Floats, shape: SlotShape) -> MappingProblem:
    """Return one layer as a mapping problem: a crossbar per slot, a tile per device.

    Args:
        loads: [experts], load of every expert (any unit; it becomes time).
        shape: checked shape.
    """
    experts = loads.size
    nodes, groups = shape.nodes, shape.groups
    return MappingProblem(
        units=tuple(range(experts)),
        layer=np.zeros(experts, dtype=np.int64),
        crossbars=np.ones(experts, dtype=np.int64),
        time_ps=loads,
        replicable=np.ones(experts, dtype=np.bool_),
        traffic_bytes=no_traffic(experts),
        capacity=np.full(shape.devices, shape.slots // shape.devices, dtype=np.int64),
        hops=1 - np.eye(shape.devices, dtype=np.int64),
        weights=Weights(time=1.0, hop_bytes=0.0, replicas=0.0, migration=0.0),
        group=np.arange(experts) * groups // experts,
        node=np.arange(shape.devices) * nodes // shape.devices,
    )


def place_slots(
    loads: ArrayLike,
    slots: int,
    groups: int = 1,
    nodes: int = 1,
    devices: int = 1,
    policy: str = "auto",
    seed: int = 0,
) -> SlotPlan:
    """Fill the expert slots of every layer.

    Every slot is filled, as in EPLB: what a policy leaves free gets the replica that does
    the least harm. Two copies of an expert on one device serve nothing; all policies but
    the published `eplb*` avoid them unless a device has more slots than there are experts.

    Args:
        loads: [layers, experts], load of every expert.
        slots: physical slots of all devices.
        groups: expert groups, used by `eplb_hierarchical` (and `eplb` by its own rule).
        nodes: nodes of devices, used likewise.
        devices: devices.
        policy: one of `moe_mapping.policies()`.
        seed: of the policies that draw random numbers.

    Raises:
        CimsimError: for loads or counts that make no sense.
    """
    table = check_loads(loads)
    shape = SlotShape(slots, groups, nodes, devices)
    shape.check(table.shape[1])
    layers = [_fill_layer(row, shape, policy, seed) for row in table]
    return slot_plan(table, layers, shape)


def _fill_layer(loads: Floats, shape: SlotShape, policy: str, seed: int) -> Assignment:
    problem = layer_problem(loads, shape)
    found = solve(problem, policy, seed)
    if int(found.counts().sum()) == shape.slots:
        return found
    arrays = arrays_of(problem)
    twins = -(-shape.slots // (shape.devices * loads.size))
    for same_tile in (twins, shape.slots):  # twins only where slots outnumber experts
        fixed = allow_twins(arrays, same_tile)
        plan = plan_of(fixed, found)
        if plan is None:
            continue
        fill_spare(fixed, plan)
        if int(plan.copies.sum()) == shape.slots:
            return assignment_of(fixed, plan)
    return found


def slot_plan(loads: Floats, layers: Sequence[Assignment], shape: SlotShape) -> SlotPlan:
    """Number the slots: slots of device d are d x per_device onwards, experts rising.

    Args:
        loads: [layers, experts].
        layers: an assignment per layer that fills every slot.
        shape: checked shape.
    """
    n_layers, experts = loads.shape
    per_device = shape.slots // shape.devices
    replicas = np.array([layer.counts() for layer in layers]).reshape(n_layers, experts)
    phy2log = np.full((n_layers, shape.slots), -1, dtype=np.int64)
    log2phy = np.full((n_layers, experts, int(replicas.max())), -1, dtype=np.int64)
    balance = np.zeros(n_layers)
    for i, layer in enumerate(layers):
        next_slot = np.arange(shape.devices) * per_device
        load = np.zeros(shape.devices)
        for expert, copies in enumerate(layer.copies):
            for k, ((device, _),) in enumerate(copies):
                phy2log[i, next_slot[device]] = expert
                log2phy[i, expert, k] = next_slot[device]
                next_slot[device] += 1
                load[device] += loads[i, expert] / len(copies)
        balance[i] = load.max() / load.mean()
    return SlotPlan(phy2log, log2phy, replicas, balance)
