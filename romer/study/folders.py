"""Where the models of a plan are: bundled ones by name, others in a folder of the user's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.zoo import bundled_models

__all__ = ["model_folders"]


def model_folders(
    names: Iterable[str], models_dir: Path | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return where each model is, and the names of those that are nowhere.

    Args:
        names: of models.
        models_dir: folder that holds those that are not bundled, or None.

    Raises:
        CimsimError: if `models_dir` is no folder.
    """
    if models_dir is not None and not models_dir.is_dir():
        raise CimsimError("is not a folder", file=models_dir, key="--models-dir")
    folders: dict[str, str] = {}
    missing = []
    for name in names:
        if name in bundled_models():
            folders[name] = name
        elif models_dir is not None and (models_dir / name).is_dir():
            folders[name] = str(models_dir / name)
        else:
            missing.append(name)
    return folders, tuple(missing)
