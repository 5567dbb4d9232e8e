"""The one interpreter of a decoder's program: whole windows, token by token, visit by visit.

A flight stands between two operations. `advance` computes operations whole, up to another one.
Where tiles serve products visit by visit (a coupled run), `prepare` computes of an operation what
is digital, and `serve` the rows of each visit when the engine serves it; the next `advance` joins
them. Which of these ways a row takes does not change its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError, SimulationError
from cimsim.model.array_backend import ArrayBackend
from cimsim.model.attention_inputs import (
    compress,
    rotate_heads,
    rotate_latent,
    split_queries,
)
from cimsim.model.correction import Correction
from cimsim.model.flight import Flight
from cimsim.model.linear import ExpertCall, ExpertLinear, Linear
from cimsim.model.observer import Observer
from cimsim.model.parameters import Parameters
from cimsim.model.routing import Chooser, Routing, route_logits
from cimsim.workload.latent import Compress, ProjectByHead, RotateLatent, SplitQueries
from cimsim.workload.matrix import NO_EXPERT, Matrix, TokenKeys
from cimsim.workload.operations import (
    Attend,
    Combine,
    Embed,
    Experts,
    Head,
    Norm,
    Operation,
    Project,
    Rotate,
    Route,
)
from cimsim.workload.program import Program

__all__ = ["Interpreter"]

Array = NDArray[np.float32]
Rows = NDArray[np.int64]
NO_PARTS: frozenset[str] = frozenset()
NO_EXPERTS: frozenset[int] = frozenset()
ROWS_OF_LOGITS = 4096


class Interpreter:
    """Executes a program with the products of one `Linear`.

    It keeps no state but that of the flights, so several threads may use one.

    Args:
        program: the operations.
        parameters: their digital parameters, as arrays of the backend.
        backend: does the digital arithmetic.
        linear: evaluates the matrix products.
        correction: what calibration changed, already applied to `linear` and `parameters` where
            it concerns those.
        observer: sees the signals.
        on_tiles: parts of the model whose products `prepare` leaves to `serve`.
    """

    def __init__(
        self,
        program: Program,
        parameters: Parameters,
        backend: ArrayBackend,
        linear: Linear,
        correction: Correction | None = None,
        observer: Observer | None = None,
        on_tiles: frozenset[str] = NO_PARTS,
    ) -> None:
        self._operations = program.operations
        self._parameters, self._backend, self._linear = parameters, backend, linear
        self._correction, self._on_tiles = correction, on_tiles
        self._observer = observer

    def advance(self, flight: Flight, stop: int | None = None) -> None:
        """End the operation that waits, and compute those before another one.

        Args:
            flight: the tokens.
            stop: index of the operation that comes next; None for the end of the program.
        """
        stop = len(self._operations) if stop is None else stop
        if flight.waits:
            self._end(flight)
        if flight.at > stop:
            raise CimsimInternalError("a flight goes back to an operation that it has passed")
        while flight.at < stop:
            with self._of(self._operations[flight.at]).together():
                self._compute(flight, NO_PARTS)
            self._end(flight)

    def _of(self, operation: Operation) -> ArrayBackend:
        """Return what computes an operation."""
        return self._backend.of_layer(operation.layer)

    def _arrive(self, flight: Flight, operation: Operation) -> ArrayBackend:
        """Return what computes the next operation, where the residual stream is then."""
        backend = self._of(operation)
        if flight.at and self._operations[flight.at - 1].layer != operation.layer:
            flight.x = backend.array(flight.x)
        return backend

    def prepare(self, flight: Flight) -> None:
        """Compute of the next operation what no tile serves; the rest waits for `serve`."""
        flight.waits = True
        self._compute(flight, self._on_tiles)

    def serve(
        self, flight: Flight, part: str, rows: Rows | None = None, expert: int = NO_EXPERT
    ) -> None:
        """Compute some rows of the products of an operation.

        Args:
            flight: the tokens.
            part: of the model; `experts` and `shared` are both parts of operation `Experts`.
            rows: int64, rising; None for all.
            expert: which, for part `experts`.
        """
        operation = self._operations[flight.at]
        if isinstance(operation, Head):
            self._score(flight, operation, rows)
            return
        x, keys = self._rows(flight, rows)
        match operation:
            case ProjectByHead():
                heads = self._by_head(operation, x, keys)
                _keep(flight, operation.stage, rows, self._of(operation).beside(heads))
            case Project():
                for matrix in operation.weights:
                    y = self._product(matrix, x, keys)
                    if operation.bias:
                        y = y + self._parameters.arrays[operation.layer, f"{matrix.id.role}_bias"]
                    _keep(flight, matrix.id.role, rows, y)
            case Route():
                if flight.forced is None:
                    _keep(flight, "router", rows, self._product(operation.router, x, keys))
                if operation.shared_router is not None:
                    gate = self._product(operation.shared_router, x, keys)
                    _keep(flight, "shared_router", rows, gate)
            case Experts() if part == "shared":
                _keep(flight, "shared", rows, self._gated(operation.shared, x, keys))
            case Experts() if rows is not None:
                y = self._gated(operation.experts[expert], x, keys)
                flight.visits.append((expert, rows, y))
            case _:
                kind = type(operation).__name__
                raise CimsimInternalError(f"operation {kind} has no products to serve")

    def _compute(self, flight: Flight, on_tiles: frozenset[str]) -> None:
        """Compute the next operation but for the parts on tiles."""
        operation = self._operations[flight.at]
        backend, arrays = self._arrive(flight, operation), self._parameters.arrays
        match operation:
            case Embed():
                flight.x = backend.take(arrays[operation.layer, "embedding"], flight.ids)
            case Norm(layer, name):
                gain = arrays[layer, f"{name}_norm"]
                flight.inputs = backend.rms_norm(flight.x, gain, operation.eps)
                if self._observer is not None:
                    self._observer.norm(layer, name, flight.keys, flight.inputs)
            case Rotate():
                rotate_heads(flight, operation, backend, self._parameters)
            case Compress():
                compress(flight, operation, backend, self._parameters)
            case SplitQueries():
                split_queries(flight, operation, backend)
            case RotateLatent():
                rotate_latent(flight, operation, backend, self._parameters)
            case Attend():
                self._attend(flight, operation)
            case Combine():
                flight.x = flight.x + flight.outputs[0]
            case _:
                served = NO_EXPERTS if on_tiles else self._serve_together(flight, operation)
                for part, rows, expert in _visits(flight, operation, served):
                    if part not in on_tiles:
                        self.serve(flight, part, rows, expert)

    def _serve_together(self, flight: Flight, operation: Operation) -> frozenset[int]:
        """Compute experts whose products are served together; return which."""
        if not isinstance(operation, Experts) or not isinstance(self._linear, ExpertLinear):
            return NO_EXPERTS
        scales = self._parameters.input_scales
        if not operation.experts or operation.experts[0][0].id in scales:
            return NO_EXPERTS  # each expert's products divide their inputs
        routing, x = flight.routings[-1], flight.inputs
        call = ExpertCall(operation.layer, operation.experts, x, flight.keys, routing)
        found = self._linear.serve_experts(call)
        if found is None:
            return NO_EXPERTS

        def refuse(_infinite: bool) -> None:  # noqa: FBT001 - as the backend calls it
            raise CimsimInternalError(f"the experts of layer {operation.layer} are not finite")

        self._of(operation).refuse_infinite(found[0], refuse)
        _keep(flight, "experts", None, found[0])
        return found[1]

    def _end(self, flight: Flight) -> None:
        """Join the rows of an operation's products and go to the next one."""
        operation = self._operations[flight.at]
        match operation:
            case ProjectByHead():
                flight.inputs = self._joined(flight, operation.stage)
                flight.outputs = (flight.inputs,)
            case Project():
                flight.outputs = tuple(self._joined(flight, m.id.role) for m in operation.weights)
            case Route():
                flight.routings.append(self._routing(flight, operation))
            case Experts():
                flight.outputs = (self._sum(flight, operation),)
            case Head() if flight.following is None:
                flight.logits = self._joined(flight, "head")
        flight.waits = False
        flight.at += 1

    def _attend(self, flight: Flight, operation: Attend) -> None:
        """Mix values, after those of all flights before have been stored in order."""
        layer, stream, keys = operation.layer, flight.stream, flight.keys
        for other in stream.unstored(layer, flight):
            first = other.at + other.waits
            if any(o.matrices for o in self._operations[first : flight.at]):
                raise CimsimInternalError("a flight attends before an earlier one has its keys")
            self.advance(other, flight.at)
            _, k, v = other.outputs
            slots = stream.cache.slots(other.keys)
            stream.cache.append(layer, slots, other.keys.position, k, v)
        slots = stream.cache.slots(keys)
        stored = stream.cache.arrays(layer)
        scale = operation.heads.scale
        mixed = self._of(operation).attend(flight.outputs[0], slots, keys.position, *stored, scale)
        flight.inputs = mixed.reshape(len(flight.ids), -1)
        if stream.ends:
            stream.cache.drop(layer)

    def _routing(self, flight: Flight, operation: Route) -> Routing:
        """Return where tokens go: as forced, or as the router's logits say."""
        if flight.forced is not None:
            return flight.forced.layer(len(flight.routings))
        host, layer = self._of(operation).host, operation.layer
        logits = self._joined(flight, "router")
        correction = None if self._correction is None else self._correction.router(layer)
        if self._observer is not None or correction is not None or operation.choice is not None:
            logits = host(logits)
        if self._observer is not None:
            taken = self._parameters.scaled(operation.router.id, flight.inputs)
            self._observer.router(layer, flight.keys, taken, logits)
        routing = route_logits(logits, flight.keys, operation, correction, self._chooser(operation))
        if self._observer is not None:
            self._observer.routing(layer, flight.keys, routing)
        return routing

    def _chooser(self, route: Route) -> Chooser:
        """Return what finds experts and gates from logits."""
        backend, k = self._of(route), route.top_k
        renormalise, scale, choice = route.renormalise, route.gate_scale, route.choice
        if choice is None:
            return lambda logits: backend.select(logits, k, renormalise=renormalise, scale=scale)
        stored = self._parameters.arrays.get((route.layer, "router_bias"))
        bias = None if stored is None else backend.host(stored)
        return lambda logits: backend.select_in_groups(
            logits, bias, k, choice, renormalise=renormalise, scale=scale
        )

    def _sum(self, flight: Flight, operation: Experts) -> Array:
        """Return the weighted sum over experts and the shared or dense block."""
        backend = self._of(operation)
        if "experts" in flight.pieces:
            total = self._joined(flight, "experts")
        else:
            total = backend.zeros(flight.inputs.shape)
        # Experts in ascending order: a token's sum has one order in every batch.
        for expert, rows, y in sorted(flight.visits, key=lambda visit: visit[0]):
            routing = flight.routings[-1]
            gates = routing.gates[rows][routing.experts[rows] == expert]
            backend.add_weighted_rows(total, rows, gates, y)
        flight.visits.clear()
        if not operation.shared:
            return total
        y = self._joined(flight, "shared")
        if "shared_router" in flight.pieces:
            y = backend.scale_rows_by_sigmoid(y, self._joined(flight, "shared_router"))
        return total + y if operation.experts else y

    def _score(self, flight: Flight, operation: Head, rows: Rows | None) -> None:
        """Keep logits, or the loss where the following token is scored."""
        following = flight.following
        if following is None:
            _keep(flight, "head", rows, self._product(operation.weight, *self._rows(flight, rows)))
            return
        scored = np.arange(len(following)) if rows is None else rows
        scored = scored[following[scored] >= 0]
        # Logits of some rows at a time: those of a flight may be larger than all else together.
        for first in range(0, len(scored), ROWS_OF_LOGITS):
            some = scored[first : first + ROWS_OF_LOGITS]
            logits = self._product(operation.weight, *self._rows(flight, some))
            flight.nll[some] = self._of(operation).negative_log_likelihood(logits, following[some])

    def _rows(self, flight: Flight, rows: Rows | None) -> tuple[Array, TokenKeys]:
        """Return inputs and addresses of some rows."""
        if rows is None:
            return flight.inputs, flight.keys
        backend = self._of(self._operations[flight.at])
        return backend.take(flight.inputs, rows), flight.keys.take(rows)

    def _joined(self, flight: Flight, name: str) -> Array:
        """Return all rows of a product."""
        backend = self._of(self._operations[flight.at])
        return backend.join(flight.pieces.pop(name), len(flight.ids))

    def _gated(self, weights: tuple[Matrix, ...], x: Array, tokens: TokenKeys) -> Array:
        """Return down(silu(gate(x)) * up(x)), float32 [n, d_model]."""
        gate, up, down = weights
        swiglu = self._backend.of_layer(down.id.layer).swiglu
        hidden = swiglu(self._product(gate, x, tokens), self._product(up, x, tokens))
        return self._product(down, hidden, tokens)

    def _by_head(self, operation: ProjectByHead, x: Array, tokens: TokenKeys) -> list[Array]:
        """Return the products of each head's part of the inputs."""
        found, start = [], 0
        for matrix in operation.weights:
            part = self._of(operation).columns(x, np.arange(start, start + matrix.n_in))
            found.append(self._product(matrix, part, tokens))
            start += matrix.n_in
        return found

    def _product(self, matrix: Matrix, x: Array, tokens: TokenKeys) -> Array:
        y = self._linear(matrix.id, self._parameters.scaled(matrix.id, x), tokens)
        if y.shape[0] != x.shape[0] or y.dtype != x.dtype:
            raise CimsimInternalError(f"the product {matrix.id} came back as {y.dtype} {y.shape}")

        def refuse(infinite: bool) -> None:  # noqa: FBT001 - as the backend calls it
            if not infinite:  # no sum became too great: a product is wrong
                raise CimsimInternalError(f"the product {matrix.id} is not finite")
            raise SimulationError(
                f"the model's activations overflow single precision: the product {matrix.id} is "
                "not finite"
            )

        backend = self._backend.of_layer(matrix.id.layer)
        backend.refuse_infinite(y, refuse)
        return backend.array(y)


def _keep(flight: Flight, name: str, rows: Rows | None, y: Array) -> None:
    flight.pieces.setdefault(name, []).append((rows, y))


def _visits(
    flight: Flight, operation: Operation, served: frozenset[int] = NO_EXPERTS
) -> Iterator[tuple[str, Rows | None, int]]:
    """Yield part, rows and expert of an operation's products, but of experts already served."""
    match operation:
        case Project():
            yield "attention", None, NO_EXPERT
        case Route():
            yield "router", None, NO_EXPERT
        case Experts(_, experts, shared):
            for expert in range(len(experts)):
                if expert in served:
                    continue
                rows = np.nonzero(flight.routings[-1].experts == expert)[0]
                if len(rows):
                    yield "experts", rows, expert
            if shared:
                yield "shared", None, NO_EXPERT
        case Head():
            yield "head", None, NO_EXPERT
        case _:
            kind = type(operation).__name__
            raise CimsimInternalError(f"the interpreter has no rule for operation {kind}")
