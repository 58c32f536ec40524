"""The JSON schema of the config files, with which editors complete entries and mark mistakes."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from torch.optim.lr_scheduler import LRScheduler

from workbench.config.nested import leaves
from workbench.config.settings import EXTRAS
from workbench.config.signatures import arguments_of
from workbench.config.targets import find_class
from workbench.config.values import MISSING
from workbench.optimizers.schedules import TIMING
from workbench.project import the_project
from workbench.ranges import CHECKED

NESTED = {"if": {"type": "object"}, "then": {"$ref": "#/$defs/node"}}
INTERPOLATION = {"type": "string", "pattern": r"^\$\{"}


def json_schema(configs: Path) -> dict[str, Any]:
    """The schema of the files in `configs`: the settings that each of their `_target_` takes."""
    files = sorted(configs.rglob("*.yaml"))
    found = [leaf for file in files for leaf in leaves(yaml.safe_load(file.read_text("utf-8")))]
    names = {name for path, name in found if "_target_" in path and name != MISSING}
    cases = [
        {
            "if": {"properties": {"_target_": {"const": name}}, "required": ["_target_"]},
            "then": {"properties": _settings_of(name), "additionalProperties": False},
        }
        for name in sorted(names)
        if not _is_extra(name)  # so that the schema does not depend on what is installed
    ]
    node = {"type": ["object", "null"], "additionalProperties": NESTED, "allOf": cases}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/$defs/node",
        "$defs": {"node": node},
    }


def _is_extra(name: str) -> bool:
    return name.startswith("optuna.") or find_class(name, "schema") in EXTRAS


def _settings_of(name: str) -> dict[str, Any]:
    """The schema of each entry that a mapping with this target may have."""
    target = find_class(name, "schema")
    known, _ = arguments_of(target)
    nodes = {entry: NESTED for entries in the_project().extra_nodes().values() for entry in entries}
    hydra = {"_target_": {"type": "string"}, "_partial_": {"type": "boolean"}, "defaults": {}}
    timing = TIMING if issubclass(target, LRScheduler) else {}
    hints = timing | {entry: argument.hint for entry, argument in known.items()}
    return {**hydra, **nodes} | {entry: _schema_of(hint) for entry, hint in hints.items()}


def _schema_of(hint: Any) -> dict[str, Any]:
    try:
        schema = TypeAdapter(hint, config=CHECKED).json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError):  # a class: a mapping with `_target_`
        return NESTED
    # A schema with definitions of its own would need them at the top level.
    return NESTED if "$defs" in schema else {"anyOf": [schema, INTERPOLATION]}
