"""Random values that a JSON Schema allows: of the part of it that `TraceForm.schema` uses."""

import re
from random import Random
from typing import Any

_BOUNDED = re.compile(r"\^\[(.+?)\]\[(.+?)\]\{(\d+),(\d+)\}\$")
"""One character of one class, then so many of another."""


def made_json(schema: dict[str, Any], random: Random) -> Any:
    """A value that the schema allows.

    Raises:
        ValueError: the schema says something that this does not know.
    """
    return _made(schema, schema.get("$defs", {}), random)


def _made(schema: dict[str, Any], parts: dict[str, Any], random: Random) -> Any:
    if "$ref" in schema:
        return _made(parts[schema["$ref"].removeprefix("#/$defs/")], parts, random)
    if "anyOf" in schema:
        return _made(random.choice(schema["anyOf"]), parts, random)
    if "enum" in schema:
        return random.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            return {name: _made(part, parts, random) for name, part in schema["properties"].items()}
        case "array":
            count = random.randint(schema.get("minItems", 0), schema["maxItems"])
            return [_made(schema["items"], parts, random) for _ in range(count)]
        case "integer":
            return random.randint(schema["minimum"], schema["maximum"])
        case "string":
            return _text(schema["pattern"], random)
        case "null":
            return None
    raise ValueError(f"cannot make a value for {schema}")


def _text(pattern: str, random: Random) -> str:
    match = _BOUNDED.fullmatch(pattern)
    if match is None:
        raise ValueError(f"cannot make a text for {pattern}")
    count = random.randint(int(match[3]), min(int(match[4]), 30))
    return random.choice(_characters(match[1])) + "".join(random.choices(_characters(match[2]), k=count))


def _characters(of_class: str) -> str:
    """The characters of a class; a hyphen at its end is one."""
    found, at = "", 0
    while at < len(of_class):
        if of_class[at + 1 : at + 2] == "-" and at + 2 < len(of_class):
            found += "".join(chr(code) for code in range(ord(of_class[at]), ord(of_class[at + 2]) + 1))
            at += 3
        else:
            found += of_class[at]
            at += 1
    return found
