"""Figures of the published checks: parity of model and silicon, and ADC models compared."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_adc_models", "write_parity"]

GREY, BLUE, ORANGE, RED = "#8a94a0", "#2166ac", "#d9730d", "#b2182b"
_MARKS = {
    "identity": ("x", GREY),
    "structural": ("o", GREY),
    "fitted": ("s", BLUE),
    "predicted_family": ("^", ORANGE),
    "predicted": ("D", RED),
}


def write_parity(path: Path, points: list[tuple[str, str, float, float]]) -> None:
    """Plot simulated over published values, with a band of a quarter.

    Args:
        path: .png or .svg file.
        points: (figure, class, published, simulated).
    """
    from cimsim.drawing import drawing, write_drawing

    with drawing(7.0, 4.5) as figure:
        axes = figure.add_subplot()
        low, high = min(p[2] for p in points), max(p[2] for p in points)
        axes.axhspan(0.75, 1.25, color="#eef1f4")
        axes.plot([low / 2, high * 2], [1, 1], color=GREY, linewidth=0.8)
        for kind, (marker, colour) in _MARKS.items():
            x = [p[2] for p in points if p[1] == kind]
            y = [p[3] / p[2] for p in points if p[1] == kind]
            label = f"{kind.replace('_', ', ')} ({len(x)})"
            axes.scatter(x, y, marker=marker, s=18, color=colour, label=label)
        axes.set_xscale("log")
        axes.set_xlim(low / 2, high * 2)
        axes.set_xlabel("published value, in its own unit")
        axes.set_ylabel("simulated / published")
        axes.set_title("Model against published figures; band: 25 %")
        axes.legend(frameon=False)
        write_drawing(figure, path)


def write_adc_models(path: Path, curves: dict[str, list[tuple[float, float]]]) -> None:
    """Plot energy per conversion over bits for every ADC model.

    Args:
        path: .png or .svg file.
        curves: (bits, pJ) by model.
    """
    from cimsim.drawing import drawing, write_drawing

    with drawing(6.0, 4.0) as figure:
        axes = figure.add_subplot()
        for name, points in curves.items():
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker="o", markersize=3, label=name)
        axes.set_yscale("log")
        axes.set_xlabel("effective bits")
        axes.set_ylabel("pJ per conversion")
        axes.set_title("ADC models at 1 GS/s, 32 nm (ZigZag: 28 nm, 0.9 V)")
        axes.legend(frameon=False)
        write_drawing(figure, path)
