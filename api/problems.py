"""Errors as answers: one JSON shape for all of them, `api.bodies.Problem`."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.bodies import Problem
from store.errors import (
    CliploomError,
    Conflict,
    InputError,
    ModelUnavailable,
    NotFound,
    Passing,
    RecordError,
    SettingsError,
)

log = logging.getLogger(__name__)


class OutsideAllowedFolders(InputError):
    """A path that the service may not read; the file may still be uploaded."""


_ANSWERS: dict[type[CliploomError], tuple[int, str]] = {
    OutsideAllowedFolders: (403, "upload the file (POST /footage/upload), or start the service with --allow FOLDER"),
    InputError: (422, "correct the request and send it again; /docs describes it"),
    RecordError: (422, "correct the request and send it again; /docs describes it"),
    NotFound: (404, "list what there is with GET on the collection"),
    Conflict: (409, "look at the present state with GET; it must change first"),
    SettingsError: (400, "correct the service's settings; `cliploom doctor` checks them"),
    ModelUnavailable: (503, "`cliploom doctor` says how to get it"),
    Passing: (503, "try again in a few seconds; GET /ready says when"),
}
"""Error type to HTTP status and general remedy; the message holds the particular one."""


def add_error_answers(app: FastAPI) -> None:
    """Make every error of ours, of validation and of routing an answer of the one shape."""
    app.add_exception_handler(CliploomError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unexpected)


def _answer(request: Request, status: int, error: str, what: str, remedy: str) -> JSONResponse:
    problem = Problem(error=error, what=what, where=f"{request.method} {request.url.path}", remedy=remedy)
    return JSONResponse(problem.model_dump(), status_code=status)


def _ours(request: Request, error: Exception) -> JSONResponse:
    status, remedy = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
    return _answer(request, status, type(error).__name__, str(error), remedy)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return _answer(request, 422, "InputError", "; ".join(faults), _ANSWERS[InputError][1])


def _routing(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, "HTTPError", str(error.detail), "/docs lists every path and method")


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        request, 500, type(error).__name__, str(error), "this is a defect; the service's log has the traceback"
    )
