"""Networks on chip: a flit-level router simulator and a packet-level model for whole chips.

`cimsim.chip.topology` is the geometry both share. `packet` is what the chip engine calls: one
reservation per link and packet, in integer picoseconds. `flit` is the cycle-accurate router network
that bounds the error of `packet` and answers `cimsim noc`; `flit_network` feeds it the vectors of
a chip.
"""
