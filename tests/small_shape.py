"""`python -m cimsim` as it is, but for the full-size model of scale.csv, which is a small one here.

Timing 98,304 crossbars takes ten seconds per chip, and is what tests of scale.csv are about. As a
script this is a whole process; worker processes start it again under another name, and so get
the small shape too.
"""

from cimsim.workload.shapes import SHAPES, DecoderShape

NAME = "olmoe-1b-7b"
SMALL_SHAPE = DecoderShape(NAME, "olmoe", 2, 256, 4, 4, 64, 1024, 16, 2, 128, source="tests")

if __name__ in {"__main__", "__mp_main__"}:
    SHAPES[NAME] = SMALL_SHAPE

if __name__ == "__main__":
    from cimsim.cli.own_process import own_process

    own_process("cimsim.cli")
