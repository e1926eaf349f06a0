"""Loading a base as the family of its pipeline."""

import json

from store.errors import ModelUnavailable
from trainer.bases import Base
from trainer.families.base import Family
from trainer.families.sd import StableDiffusion

FAMILIES: dict[str, type[Family]] = {family.pipeline_class.__name__: family for family in (StableDiffusion,)}
"""Pipeline class, as `model_index.json` names it, to family."""


def open_base(base: Base, device: str) -> Family:
    """Load a base as the family that its `model_index.json` names.

    Raises:
        ModelUnavailable: no family trains such a pipeline, or its files are incomplete.
    """
    named = json.loads((base.folder / "model_index.json").read_text()).get("_class_name")
    family = FAMILIES.get(named)
    if family is None:
        raise ModelUnavailable(f"base {base.folder.name} is a {named}; this version trains {', '.join(FAMILIES)}")
    try:
        return family.load(base.folder, device)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"base {base.folder.name} cannot be loaded ({error}); fetch it again, whole") from error
