"""Request and answer bodies that several resources share."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.service import Service
from store.records import Json, Record
from store.tables import DocumentTable

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
]
"""A source's or a person's name: one line."""
Licence = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9.+-]{1,100}$")]
"""An SPDX licence identifier, or `LicenseRef-...` for one of the owner's own."""
Limit = Annotated[int, Field(ge=1, le=500)]
Offset = Annotated[int, Field(ge=0)]


class Body(BaseModel):
    """A request body: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid")


class Decided(Body):
    """Who decides, and why."""

    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["its hands are better, whatever the loss says"])


class Problem(BaseModel):
    """Why a request was refused."""

    error: str = Field(examples=["InputError"])
    """Kind of error; the name in `store/errors.py`."""
    what: str = Field(examples=["holiday.mp4: not a video; found 12 bytes of text; expected MP4/MOV, MKV/WebM, ..."])
    where: str = Field(examples=["POST /footage"])
    remedy: str = Field(examples=["correct the request and send it again; /docs describes it"])


class Entered(BaseModel):
    """What became of a request that publishes a record."""

    id: str
    durable: bool
    """The store holds it (201); else the broker has it and the store does not show it yet (202)."""
    note: str
    document: Json | None
    """As it lies in the store; None while it does not show."""


PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "The request is not usable"},
    404: {"model": Problem, "description": "The store does not hold it"},
    409: {"model": Problem, "description": "The present state forbids it"},
    503: {"model": Problem, "description": "A part of the service does not answer; try again"},
}
"""For the `responses` of routes."""


def problems(*statuses: Literal[404, 409, 422, 503]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these."""
    return {status: PROBLEMS[status] for status in statuses}


ENTERED: dict[int | str, dict[str, Any]] = {
    202: {"model": Entered, "description": "The broker has it; the store does not show it yet"},
    **problems(404, 409, 422, 503),
}
"""For the `responses` of routes that publish an entry record."""


async def enter(
    service: Service,
    response: Response,
    record: Record,
    table: DocumentTable,
    id_: str,
    shows: Callable[[Json], bool] = lambda document: True,
) -> Entered:
    """Publish a record that makes document `id_` of `table`, or changes it to one that `shows` the record's effect, and
    answer 201 once it is there, else 202."""
    shown = await service.publish_until_shown(record, lambda: (known := table.get(id_)) is not None and shows(known))
    response.status_code = 201 if shown else 202
    note = "stored" if shown else f"the broker has it, the store does not show it yet; look again at {id_}"
    return Entered(id=id_, durable=shown, note=note, document=table.get(id_) if shown else None)
