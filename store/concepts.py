"""Concepts: named subsets of the clips, declared in concepts.yaml.

A concept is declared by a SQL condition over the clip table, by example clips, by a text, or by a cluster.
`store.membership` finds its clips, `store.purity` says how sure we are of them, `store.readiness` whether they are
enough to train on.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from store.errors import SettingsError
from store.records import Json, Value

Kind = Literal["query", "examples", "text", "cluster"]
UNDECLARED = ("no longer declared",)
"""Reasons of a concept that concepts.yaml declared once."""
KINDS: tuple[Kind, ...] = ("query", "examples", "text", "cluster")


class Concept(Value):
    """One entry of concepts.yaml; exactly one of `query`, `examples`, `text` and `cluster` declares it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str = Field(min_length=1)
    query: str | None = Field(default=None, min_length=1)
    """SQL condition over the clip table's columns."""
    examples: tuple[str, ...] = ()
    """Ids of clips that are like it."""
    text: str | None = Field(default=None, min_length=1)
    """What its clips show; where the profile compares no texts with pictures, words of their strings."""
    cluster: int | None = Field(default=None, ge=0)
    """Number of a cluster."""
    contrasts: tuple[str, ...] = ()
    """Concepts that this one must be told apart from; none: all other clips."""
    purity: float = Field(default=0.7, gt=0.0, lt=1.0)
    """What the purity's lower bound must reach."""
    min_clips: int = Field(default=12, ge=2)
    """Least clips, of which near copies count once."""
    min_videos: int = Field(default=3, ge=2)
    min_sources: int = Field(default=1, ge=1)
    priority: int = Field(default=0, ge=-100, le=100)
    """Of the concepts that are due, the one of the highest is trained first."""

    @property
    def kind(self) -> Kind:
        """What declares it."""
        return next(kind for kind in KINDS if getattr(self, kind) not in (None, ()))

    @property
    def entry(self) -> Json:
        """The entry of concepts.yaml: what it says, without what goes without saying."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @model_validator(mode="after")
    def _is_declared_once(self) -> "Concept":
        given = [kind for kind in KINDS if getattr(self, kind) not in (None, ())]
        if len(given) != 1:
            told = f"both {' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"exactly one of {', '.join(KINDS)} declares a concept; {told}")
        return self


def is_declared(document: Json) -> bool:
    """Whether the concept of a document of the store is one of concepts.yaml, as far as was told."""
    return tuple(document["reasons"]) != UNDECLARED


class ConceptsFile(Value):
    """concepts.yaml."""

    concepts: tuple[Concept, ...] = Field(min_length=1)


def load_concepts(path: Path) -> tuple[Concept, ...]:
    """The concepts that a YAML file declares, in its order.

    Raises:
        SettingsError: no file, no YAML, a missing, unknown or wrong field, a name that is taken twice, or a
            contrast that is not declared; the message names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"concepts file {path} cannot be read: {error.strerror}; give an existing file") from error
    return parse_concepts(text, str(path))


def parse_concepts(text: str, name: str) -> tuple[Concept, ...]:
    """The concepts that YAML text declares; `name` says in errors where it came from.

    Raises:
        SettingsError: see `load_concepts`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    try:
        concepts = ConceptsFile.model_validate(content).concepts
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(
            f"{name} line {_line(tree, first['loc'])}: {where}: {first['msg']}, got {first['input']!r:.60}; expected"
            f" `concepts:` and a list of entries with {', '.join(Concept.model_fields)}"
        ) from error
    _check_names(concepts, tree, name)
    return concepts


def _check_names(concepts: Sequence[Concept], tree: yaml.Node | None, name: str) -> None:
    names = [concept.name for concept in concepts]
    for i, taken in enumerate(names):
        if taken in names[:i]:
            line = _line(tree, ("concepts", i, "name"))
            raise SettingsError(f"{name} line {line}: concept {taken!r} is declared twice; give one another name")
    for i, concept in enumerate(concepts):
        others = [other for other in names if other != concept.name]
        for j, contrast in enumerate(concept.contrasts):
            if contrast not in others:
                line = _line(tree, ("concepts", i, "contrasts", j))
                raise SettingsError(
                    f"{name} line {line}: concept {concept.name!r} contrasts with {contrast!r}; expected another of"
                    f" {', '.join(others) or 'this file, which has none'}"
                )


def _line(tree: yaml.Node | None, loc: Iterable[int | str]) -> int:
    """1-based line of the deepest part of `loc` that the file has."""
    node = tree
    for part in loc:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = node.value[part]
        if inner is None:
            break
        node = inner
    return node.start_mark.line + 1 if node is not None else 1
