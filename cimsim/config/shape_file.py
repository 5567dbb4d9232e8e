"""From a YAML file to a validated workload shape."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from cimsim.config.bundled import bundled_files
from cimsim.config.section_file import SectionFile, load_section
from cimsim.config.shape import AnyOperation, WorkloadShape
from cimsim.config.yaml_tree import read_yaml

__all__ = ["bundled_shapes", "is_shape", "load_shape"]


def bundled_shapes() -> dict[str, Path]:
    """Return the bundled shape files by name."""
    return bundled_files("shapes")


def is_shape(path: Path) -> bool:
    """Whether a YAML file is a workload by shape and not a chip."""
    return "shape" in read_yaml(path).value


def load_shape(path: Path) -> SectionFile[WorkloadShape]:
    """Read and validate one shape.

    Raises:
        CimsimError: naming file, line, column, key, value and what is allowed.
    """
    operations = get_args(get_args(AnyOperation)[0])
    kinds = {get_args(o.model_fields["kind"].annotation)[0]: o for o in operations}
    return load_section(path, WorkloadShape, kinds)
