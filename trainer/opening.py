"""Loading a base as the family of its pipeline."""

import json
import pkgutil
from functools import cache
from importlib import import_module

import torch

from store.errors import ModelUnavailable
from trainer import families
from trainer.bases import Base
from trainer.families.base import Family


@cache
def known_families() -> dict[str, type[Family]]:
    """Pipeline class, as `model_index.json` names it, to family: every file in `trainer/families` that holds one."""
    for module in pkgutil.iter_modules(families.__path__):
        import_module(f"trainer.families.{module.name}")
    return {family.pipeline_class.__name__: family for family in Family.__subclasses__()}


def family_of(base: Base) -> type[Family]:
    """The family that a base's `model_index.json` names.

    Raises:
        ModelUnavailable: no family trains such a pipeline.
    """
    named = json.loads((base.folder / "model_index.json").read_text()).get("_class_name")
    family = known_families().get(named)
    if family is None:
        known = ", ".join(sorted(known_families()))
        raise ModelUnavailable(f"base {base.folder.name} is a {named}; this version trains {known}")
    return family


def open_base(base: Base, device: str, dtype: torch.dtype = torch.float32) -> Family:
    """Load a base as its family.

    Raises:
        ModelUnavailable: no family trains such a pipeline, or its files are incomplete.
    """
    family = family_of(base)
    try:
        return family.load(base.folder, device, dtype)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"base {base.folder.name} cannot be loaded ({error}); fetch it again, whole") from error
