"""What a saved configuration may hold: values of the types that were saved, checked before anything is built from them.

pydantic checks; a section of config.json is a class of fields.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

S = TypeVar("S", bound="Stored")


class Stored(BaseModel):
    """Base of the sections of a saved configuration: no unknown names, no numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def read_section(kind: type[S], config: Mapping[str, Any], section: str) -> S:
    """Return a section of a saved configuration; text and lists are read as the types that the fields have.

    Raises:
        ValueError: it is missing, or a value is not what belongs there; the message names section and field.
    """
    try:
        return kind.model_validate_json(json.dumps(config.get(section)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, (section, *first["loc"])))
        raise ValueError(f"{path} in config.json: {first['msg'].lower()}") from error


def section_of(name: str, types: Mapping[str, Any]) -> type[Stored]:
    """Return a section whose fields have these names and types; none has to be there."""
    return create_model(name, __base__=Stored, **{field: (kind, None) for field, kind in types.items()})  # type: ignore[call-overload,no-any-return]
