"""A whole chip: technology, tiles, network, memory, and how a run uses it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cimsim.config.bounds import (
    BANDWIDTH_GB_PER_S,
    BATCH,
    CLOCK_GHZ,
    DEVICE_GB,
    ENERGY_PJ_PER_BIT,
    LANES,
    LATENCY_NS,
    LIMIT,
    MEMORY_KB,
    POWER_W,
    TILES,
    TOKENS,
    WEIGHT,
)
from cimsim.config.calibration import Calibration
from cimsim.config.components import Cost
from cimsim.config.noc import AnyNoc, MeshNoc
from cimsim.config.section import Section, knob
from cimsim.config.system import System
from cimsim.config.tile import Tile

AnalogPart = Literal["attention", "router", "experts", "shared", "head"]
ShapeName = Literal[
    "olmoe-1b-7b", "qwen1.5-moe-a2.7b", "deepseek-moe-16b", "mixtral-8x7b", "moe-671b",
    "llama-2-7b", "lstm-ptb", "mlp-mnist", "cnn10-cifar10", "resnet20-cifar10",
]  # fmt: skip
SHAPE_FILES = (".json", ".yaml", ".yml")


class Technology(Section):
    """Process and operating point."""

    node_nm: float = knob(32.0, "Process node of tiles and digital logic.", unit="nm", ge=3, le=180)
    vdd_v: float = knob(0.9, "Digital supply.", unit="V", gt=0.3, le=3.3)
    typed_at_vdd_v: float | None = knob(
        None,
        "Supply at which the file's times, rates and energies hold; at another vdd_v "
        "they follow the alpha-power law and the square. Null means vdd_v; the vdd_v that --set or "
        "an extending file replaces, where it says nothing else.",
        unit="V",
        gt=0.3,
        le=3.3,
        late=True,
    )
    clock_ghz: float = knob(1.0, "Clock of tile logic.", unit="GHz", within=CLOCK_GHZ)
    temperature_c: float = knob(25.0, "Chip temperature.", unit="C", ge=-55, le=150)


class Mesh(Section):
    """Size of the chip and what is analog on it."""

    tiles: Annotated[int, Field(ge=TILES.least, le=TILES.most)] | Literal["fit"] = knob(
        "fit",
        "Number of tiles, or fit: the smallest mesh that holds every analog matrix once "
        "plus spare_fraction.",
    )
    spare_fraction: float = knob(0.125, "Spare crossbars of a fitted chip.", ge=0, le=4)
    power_limit_w: float | None = knob(
        None,
        "Power of the crossbars and converters active at once; visits wait for it. Null means "
        "no limit.",
        unit="W",
        within=POWER_W,
    )
    analog_parts: tuple[AnalogPart, ...] = knob(
        ("attention", "router", "experts", "shared"),
        "Parts of the model whose matrices sit on crossbars; the others run digitally.",
    )
    switching: Literal["refuse", "lru", "lfu", "pinned", "prefetch"] = knob(
        "refuse",
        "What happens when experts do not all fit: an error, or on-demand programming that "
        "evicts the least recently or least frequently used expert, keeps the hottest ones "
        "pinned, or also prefetches for the next layer.",
    )


class Memory(Section):
    """Off-chip memory and where the KV cache lives."""

    kind: Literal["none", "lpddr4", "hbm2", "hbm3"] = knob("lpddr4", "Off-chip memory.")
    channels: int = knob(2, "Independent channels.", ge=1, le=64)
    channel_gb_per_s: float = knob(
        12.8, "Bandwidth of one channel.", unit="GB/s", within=BANDWIDTH_GB_PER_S
    )
    latency_ns: float = knob(100.0, "Time to the first byte.", unit="ns", ge=0, within=LATENCY_NS)
    pj_per_bit: float | None = knob(
        None,
        "Energy of off-chip access; null takes the value of the kind.",
        unit="pJ/bit",
        ge=0,
        within=ENERGY_PJ_PER_BIT,
    )
    kv: Literal["on_chip", "dram"] = knob(
        "on_chip",
        "Where keys and values live; on_chip spills to DRAM what digital.kv_sram_kb does not hold.",
    )
    kv_bits: int = knob(16, "Bits of a stored key or value.", unit="bit", ge=2, le=32)


class Digital(Section):
    """Digital units beside the tiles: norm, softmax, attention, activation, routing."""

    units: int = knob(4, "Digital units on the chip, placed along the mesh.", ge=1, le=4096)
    macs_per_cycle: int = knob(
        256, "MACs of one unit per cycle (attention).", unit="1/cycle", within=LANES
    )
    lanes: int = knob(
        64, "Elementwise operations of one unit per cycle.", unit="1/cycle", within=LANES
    )
    clock_ghz: float = knob(1.0, "Clock of the digital units.", unit="GHz", within=CLOCK_GHZ)
    kv_sram_kb: float = knob(
        1024.0, "On-chip memory for keys and values of one unit.", unit="kB", within=MEMORY_KB
    )
    weight_sram_kb: float = knob(
        4096.0,
        "On-chip memory for matrices computed digitally; the rest is streamed from DRAM, once "
        "for all tokens of a prefill flight or of a decode step.",
        unit="kB",
        ge=0,
        within=MEMORY_KB,
    )


class MappingWeights(Section):
    """What each part of the objective of placement is worth; every part is about 1 or less."""

    time: float = knob(
        1.0,
        "Weight of the slowest tile's busy time, over that of an even spread.",
        ge=0,
        within=WEIGHT,
    )
    layers: float = knob(
        0.5,
        "Weight of the sum over layers of the layer's slowest tile, over that of one copy of "
        "every matrix alone on its tiles: what a batch that enters at once waits for.",
        ge=0,
        within=WEIGHT,
    )
    hop_bytes: float = knob(
        0.002,
        "Weight of bytes x hops on the network, over those of a random placement; more of it "
        "crowds the experts of a layer around its attention, where they wait for each other.",
        ge=0,
        within=WEIGHT,
    )
    replicas: float = knob(
        0.01,
        "Weight of crossbars in extra copies, over those of one copy of everything.",
        ge=0,
        within=WEIGHT,
    )
    migration: float = knob(
        0.05,
        "Weight of crossbars programmed anew, over those of one copy of everything, where a "
        "chip that is programmed already is placed again: `python -m moe_mapping remap`.",
        ge=0,
        within=WEIGHT,
    )


class Mapping(Section):
    """How matrices are placed on tiles."""

    policy: str = knob("auto", "Placement policy registered in moe_mapping.")
    replicas: bool = Field(
        default=True,
        description="Fill spare crossbars with copies of busy units.",
        json_schema_extra={"unit": "1"},
    )
    replica_choice: Literal["static", "least_loaded"] = knob(
        "static",
        "Which copy serves a token: (sequence + position) mod copies, or the copy that would "
        "take it in first when its flight is sent.",
    )
    weights: MappingWeights = Field(MappingWeights(), description="Objective of policies.")


class Workload(Section):
    """What is scored and timed."""

    tokens: int = knob(
        1280, "Scored tokens: whole windows of context tokens.", unit="token", within=TOKENS
    )
    context: int = knob(256, "Window length.", unit="token", ge=2, le=4096)
    in_flight: int = knob(4, "Sequences in flight at once in prefill.", within=BATCH)
    shape: ShapeName | str = knob(
        "olmoe-1b-7b",
        "Full-size model at whose shape scale.csv times and charges the tile: a name, or the path "
        "of a shape file (YAML) or config.json, from where the chip file lies or as it is.",
    )

    @field_validator("shape", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        """Refuse what is neither a name nor a file as a wrong name."""
        if value in get_args(ShapeName) or (isinstance(value, str) and value.endswith(SHAPE_FILES)):
            return value
        kind = "literal_error"
        message = "Input should be a known shape, a shape file or a config.json"
        raise PydanticCustomError(kind, message)


class Run(Section):
    """How a run is carried out."""

    seed: int = knob(0, "Seed of every fresh random number.", ge=0, le=2**63 - 1)
    chip_seeds: int = knob(
        3, "Chips drawn: seeds 0, 1, ... of the frozen randomness.", ge=1, le=1000
    )
    perplexity_limit: float = knob(
        1.1,
        "Greatest perplexity of a chip that counts as good, over that of the float model: the "
        "share of good chips is the yield.",
        within=LIMIT,
        late=True,
    )
    tile_mode: Literal["detailed", "folded"] = knob(
        "detailed", "Scored tokens see every slice, cycle and conversion, or a folded tile."
    )
    flight_tokens: int = knob(
        64, "Tokens that travel together in prefill.", unit="token", within=BATCH
    )
    decode_batch: tuple[Annotated[int, Field(ge=BATCH.least, le=BATCH.most)], ...] = Field(
        (1, 8),
        min_length=1,
        max_length=16,
        description="Batch sizes of decode, each once.",
        json_schema_extra={"unit": "1"},
    )
    engine: Literal["auto", "simpy", "compiled"] = knob(
        "auto", "What schedules events: SimPy, the compiled loop, or by size."
    )
    coupling: Literal["auto", "coupled", "trace"] = knob(
        "auto",
        "Numbers first and time after them (trace), or numbers computed as simulated time passes, "
        "on the SimPy engine (coupled). Auto couples where numbers depend on time: noisy experts "
        "switched on demand, least loaded copies that err apart, drift within the run.",
    )
    age_step: float = knob(
        0.01,
        "Step of ln(age + t0) at which drifting conductances are evaluated: they are off by at "
        "most their drift exponent times half of it. 0 evaluates every visit at its own age.",
        ge=0,
        le=1,
    )
    backend: Literal["numba", "torch"] = knob(
        "numba",
        "What computes numbers: compiled kernels on the processor, or torch, which a device other "
        "than cpu implies.",
    )
    device: str = knob(
        "cpu",
        "Where torch computes: cpu, cuda, or cuda:N; several, such as cuda:0,cuda:1, share out the "
        "chip seeds, and the layers of a pass where there are more of them than chip seeds.",
    )
    device_gb: float | None = knob(
        None,
        "Memory of the device that weights and written matrices may fill, beside activations; what "
        "does not fit is read and written again in every pass, with the same numbers. Left out: "
        "all that is free.",
        unit="GB",
        within=DEVICE_GB,
    )
    precision: Literal["exact", "fast"] = knob(
        "exact",
        "Codes of torch tiles: those of the numba tile given the same inputs, or the same law "
        "with cells of one byte. Left out, it is fast on a CUDA device and exact elsewhere.",
    )

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that torch computes on."""
        return tuple(self.device.split(","))

    @field_validator("decode_batch")
    @classmethod
    def _each_once(cls, batches: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(batches)) < len(batches):
            message = "names a batch size twice"
            raise ValueError(message)
        return batches

    @model_validator(mode="after")
    def _computable(self) -> Run:
        """Fill in what a device implies, so that the run's identity names what computes."""
        if self.device != "cpu":
            implied = {"backend": "torch", "precision": "fast"}
            missing = {k: v for k, v in implied.items() if k not in self.model_fields_set}
            self.__dict__.update(missing)
        if not re.fullmatch(r"cpu|cuda|cuda:\d+(,cuda:\d+)*", self.device):
            message = f"run.device is {self.device!r}, and torch computes on cpu, cuda or cuda:N"
            raise ValueError(message)
        if len(set(self.devices)) < len(self.devices):
            message = f"run.device {self.device!r} names a device twice"
            raise ValueError(message)
        if self.backend == "numba" and self.device != "cpu":
            message = (
                f"run.device {self.device!r} needs torch, and run.backend says numba: "
                "leave run.backend out"
            )
            raise ValueError(message)
        if self.backend == "numba" and self.precision == "fast":
            message = "run.precision fast needs torch, and run.backend says numba"
            raise ValueError(message)
        if self.device == "cpu" and self.device_gb is not None:
            message = "run.device_gb is memory of a CUDA device, and run.device is cpu"
            raise ValueError(message)
        if self.backend == "torch" and self.coupling == "coupled":
            message = "run.coupling coupled computes visit by visit, which run.backend torch cannot"
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what computes while it is Numba: such a chip keeps its identity."""
        fields: dict[str, Any] = handler(self)
        if self.backend == "numba":
            for name in ("backend", "device", "precision"):
                del fields[name]
        if self.device_gb is None:
            del fields["device_gb"]
        return fields


class ChipConfig(Section):
    """One file of arch_configs: a complete runnable chip."""

    cimsim: Literal[2] = knob(2, "Version of the configuration format.")
    name: str = Field(
        ...,
        description="Name of the chip in reports: at most 100 characters, a letter or digit among "
        "them.",
        max_length=100,
        json_schema_extra={"unit": "1"},
    )
    description: str = knob("", "One sentence about the chip.")
    technology: Technology = Field(Technology(), description="Process and operating point.")
    chip: Mesh = Field(Mesh(), description="Size of the chip and what is analog on it.")
    tile: Tile = Field(Tile(), description="The tile that the mesh repeats.")
    noc: AnyNoc = Field(MeshNoc(), description="Network between tiles.")
    system: System = Field(System(), description="Chips of the system and links between them.")
    memory: Memory = Field(Memory(), description="Off-chip memory and KV cache.")
    cost: Cost = Field(Cost(), description="Cost overrides and published tables.")
    digital: Digital = Field(Digital(), description="Digital units.")
    mapping: Mapping = Field(Mapping(), description="Placement.")
    calibration: Calibration = Field(Calibration(), description="Calibration.")
    workload: Workload = Field(Workload(), description="What is scored and timed.")
    run: Run = Field(Run(), description="How a run is carried out.")

    @field_validator("name")
    @classmethod
    def _can_be_shown(cls, name: str) -> str:
        """Names stand in tables, pages and file names; spreadsheets compute what begins with =."""
        if not any(c.isalnum() for c in name) or not name.isprintable():
            message = "must be printable and hold a letter or a digit"
            raise ValueError(message)
        if name[0] in "=+-@" or name != name.strip():
            message = "may not begin with one of = + - @, nor begin or end with a blank"
            raise ValueError(message)
        return name
