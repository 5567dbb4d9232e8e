"""Bounds of knobs: what physics, published chips and the simulation's own arithmetic allow.

A number beyond them is a slip of the unit or of the exponent: it would overflow a sum of energies
or the 64-bit picoseconds of simulated time hours later, or ask for a table that no memory holds.
Bounds lie far from every published chip, mostly three decades, so that no design is out of reach.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "AGE_S",
    "AREA_MM2",
    "AREA_UM2",
    "BANDWIDTH_GB_PER_S",
    "BATCH",
    "CAPACITANCE_FF",
    "CLOCK_GHZ",
    "COMMON_GAIN",
    "CONDUCTANCE_US",
    "COUNT",
    "CURRENT_NA",
    "CURRENT_UA",
    "DECADE_SHARE",
    "DEVICE_GB",
    "ENDURANCE",
    "ENERGY_FJ",
    "ENERGY_PJ",
    "ENERGY_PJ_PER_BIT",
    "FACTOR",
    "HOURS",
    "LANES",
    "LATENCY_NS",
    "LENGTH_MM",
    "LEVELS",
    "LIFE_TOKENS",
    "LIMIT",
    "LSB",
    "LSB_PER_C",
    "MEMORY_KB",
    "PER_C",
    "POWER_MW",
    "POWER_UW",
    "POWER_W",
    "PULSES",
    "RATE_GSPS",
    "READ_NS",
    "SHAPE_COUNT",
    "SHAPE_WIDTH",
    "SIGMA",
    "TEMPERATURE_C",
    "TERAOPS",
    "THRESHOLD_MV_PER_C",
    "TILES",
    "TOKENS",
    "WEIGHT",
    "WIRE_OHM",
    "WRITE_NS",
    "Bounds",
]


class Bounds(NamedTuple):
    """What a knob may be.

    Attributes:
        least: least value; where a knob may be 0 as well, the least one beside 0.
        most: greatest value.
        why: the reason, a phrase.
    """

    least: float
    most: float
    why: str


READ_NS = Bounds(1e-3, 1e6, "a picosecond, the step of simulated time, to a millisecond")
WRITE_NS = Bounds(1e-3, 1e9, "a picosecond, the step of simulated time, to a second")
LATENCY_NS = Bounds(1e-3, 1e6, "a picosecond to the millisecond of a disk")
CAPACITANCE_FF = Bounds(1e-3, 1e6, "a few electrons a volt, to a nanofarad of a whole die")
CLOCK_GHZ = Bounds(1e-3, 10, "a MHz, to 10 GHz beyond which wires of a chip are too slow")
RATE_GSPS = Bounds(1e-6, 1e3, "the kS/s to hundred GS/s of the Murmann survey")
BANDWIDTH_GB_PER_S = Bounds(1e-3, 1e5, "a serial flash to a stack of memory dies, tenfold")
ENERGY_PJ = Bounds(1e-9, 1e6, "kT ln 2 is 3e-9 pJ at room temperature; a block of flash takes uJ")
ENERGY_FJ = Bounds(1e-6, 1e9, "kT ln 2 is 3e-6 fJ at room temperature; a block of flash takes uJ")
ENERGY_PJ_PER_BIT = Bounds(1e-9, 1e6, "kT ln 2 is 3e-9 pJ at room temperature; radio takes nJ")
POWER_UW = Bounds(1e-9, 1e9, "a femtowatt leaks from a transistor; a kilowatt melts a die")
POWER_MW = Bounds(1e-9, 1e7, "a picowatt, to ten kilowatts, which melt a wafer")
POWER_W = Bounds(1e-6, 1e5, "a microwatt, to the power of a rack")
TERAOPS = Bounds(1e-6, 1e6, "a microcontroller, to a hundred of the largest dies")
AREA_UM2 = Bounds(1e-6, 1e11, "a square nanometre to a wafer")
AREA_MM2 = Bounds(1e-9, 1e5, "a thousand square nanometres to a wafer")
LENGTH_MM = Bounds(1e-6, 1e3, "a nanometre to a board")
CONDUCTANCE_US = Bounds(1e-6, 1e6, "a picosiemens to a siemens, an ohm of wire")
CURRENT_NA = Bounds(1e-9, 1e6, "an electron in a tenth of a second, to a milliampere")
CURRENT_UA = Bounds(1e-9, 1e6, "a femtoampere leaks from a transistor, to an ampere")
WIRE_OHM = Bounds(1e-6, 1e4, "a superconductor's contact, to a cell's own resistance")
ENDURANCE = Bounds(1, 1e18, "one-time memory to SRAM rewritten at a GHz for decades")
PULSES = Bounds(1, 1e4, "published program-and-verify takes up to a hundred")
AGE_S = Bounds(1e-9, 4e9, "a nanosecond to a century")
SIGMA = Bounds(1e-9, 1e3, "errors from single electrons to far beyond the whole range")
FACTOR = Bounds(1e-9, 1e9, "nine decades either way are a slip of the unit")
LSB = Bounds(1e-9, 65536, "the range of a converter of 16 bits")
LSB_PER_C = Bounds(1e-9, 1e3, "the range of a converter of 16 bits within a range of 65 C")
PER_C = Bounds(-0.1, 0.1, "ten per cent of a quantity per degree: it doubles within ten")
DECADE_SHARE = Bounds(1e-9, 1, "the whole of a gain per decade of time")
COMMON_GAIN = Bounds(1 / 1024, 1024, "a reference off by the range of a converter of ten bits")
TEMPERATURE_C = Bounds(-55, 150, "the range that silicon is specified for")
THRESHOLD_MV_PER_C = Bounds(-10, 10, "published cells move by one or two mV per degree")
LIFE_TOKENS = Bounds(1, 1e18, "a token, to a million a second for as long as chips are sold")
LIMIT = Bounds(1, 1e6, "no chip is better than its model; far beyond every vocabulary")
HOURS = Bounds(1e-6, 1e6, "a few milliseconds to a century")
LEVELS = Bounds(1e-6, 1e9, "all cells of the largest column at their highest level, a hundredfold")
MEMORY_KB = Bounds(1e-3, 1e9, "a byte to a terabyte")
DEVICE_GB = Bounds(1e-6, 1e4, "a kilobyte to ten terabytes")
LANES = Bounds(1, 1 << 20, "a million MACs in a cycle are those of a whole wafer")
COUNT = Bounds(1, 1024, "published tiles have up to a hundred; tables grow with it")
TILES = Bounds(1, 8192, "distances of all pairs of tiles are held: half a gigabyte")
SHAPE_WIDTH = Bounds(1, 1 << 20, "sides of the largest published matrices, several times over")
SHAPE_COUNT = Bounds(1, 1 << 24, "pixels and features of the largest published layers, tenfold")
BATCH = Bounds(1, 4096, "keys and values of every sequence are held")
TOKENS = Bounds(2, 1 << 24, "activations of every token are held while a layer is calibrated")
WEIGHT = Bounds(1e-9, 1e6, "parts of the objective are about 1 each")
