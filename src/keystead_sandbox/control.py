"""The control API: how tests, scenarios and people look at the emulated Azure and steer it.

It is on loopback and needs no token. It shows no secret and no token: a snapshot stays in the sandbox, and only its
number is handed out. ``GET /openapi.json`` describes it; the description is made from the table that serves it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keystead_sandbox.arm.state import summary
from keystead_sandbox.faults import Fault
from keystead_sandbox.journal import Entry, Query
from keystead_sandbox.resources import Rules
from keystead_sandbox.world import World

_TITLE = "Keystead sandbox: control"
_VERSION = "1"
_LONGEST_SKIP = 1e9  # seconds, some thirty years; beyond, a clock would lose its fractions
_LONGEST_WAIT = 60.0  # seconds for which a reader of the journal may wait at a time
_LONGEST_BODY = 1 << 20  # bytes
_MOST_SNAPSHOTS = 100
_DIGITS = 15  # of a number that anything here has


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the clock."""

    advance: float = 0.0
    """Sandbox seconds to skip, 0 or more."""
    rate: float | None = None
    """Sandbox seconds in one wall second, above 0."""

    def __post_init__(self) -> None:
        if not 0 <= self.advance <= _LONGEST_SKIP:
            raise ValueError(
                f"advance must be 0 or more, as the clock does not go back, and at most {_LONGEST_SKIP:.0f}"
            )
        if self.rate is not None and not 0 < self.rate <= 1000:  # noqa: PLR2004 - the command's own bound, with room
            raise ValueError("rate must be above 0 and at most 1000")


class Time(msgspec.Struct, frozen=True):
    """What the clock says."""

    rate: float
    now: float
    wall: str


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One remembered state."""

    snapshot: int
    """Its number."""


class Number(msgspec.Struct, frozen=True):
    """What was added, by the number to remove it with."""

    number: int


class Standing(msgspec.Struct, frozen=True):
    """A fault in force."""

    number: int
    fault: Fault
    hits: int


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str


_Handler: TypeAlias = Callable[[Request], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    handler: _Handler
    summary: str
    answer: Any
    body: Any = None
    refusals: dict[int, str] = field(default_factory=dict)  # beside 400: when
    query: dict[str, tuple[str, str]] = field(default_factory=dict)  # name: JSON type, what it means


def control_app(world: World) -> Starlette:
    """The ASGI app of the control API."""
    control = _Control(world)
    operations = control.operations()
    described = description(operations)

    async def openapi(request: Request) -> Response:
        del request
        return _json(described)

    routes = [Route(each.path, _answering(each.handler), methods=[each.method]) for each in operations]
    return Starlette(routes=[*routes, Route("/openapi.json", openapi)], exception_handlers={HTTPException: _refused})


_NO_FAULT = {404: "No fault in force has this number."}
_NO_STATE = {404: "No remembered state has this number."}


class _Control:
    """One handler per operation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def operations(self) -> list[_Operation]:
        """The whole API."""
        text, number = "string", "integer"
        return [
            _Operation(
                "GET",
                "/journal",
                self.journal,
                "Requests and their answers, oldest first.",
                list[Entry],
                query={
                    "since": (number, "Only entries with a higher sequence number."),
                    "limit": (number, "At most so many."),
                    "service": (text, "Only of this service: arm, entra, keyvault, imds, proxy."),
                    "method": (text, "Only of this HTTP method."),
                    "path": (text, "Only where this regular expression is found in the path, in any case."),
                    "caller": (text, "Only of this caller."),
                    "code": (text, "Only answered with this code, such as AADSTS700213."),
                    "status": (number, "Only answered with this HTTP status; 0 is no answer."),
                    "wait": (
                        "number",
                        "When there is none yet, wait for one, for up to so many seconds of your own clock, at most 60.",
                    ),
                },
            ),
            _Operation("GET", "/state", self.state, "What exists, without secrets.", dict[str, Any]),
            _Operation("GET", "/rules", self.rules, "How strict and how slow this Azure is.", Rules),
            _Operation("PATCH", "/rules", self.change_rules, "Change some of the rules, for what comes.", Rules, Rules),
            _Operation("GET", "/faults", self.faults, "The faults in force.", list[Standing]),
            _Operation("POST", "/faults", self.add_fault, "Put a fault in force.", Number, Fault),
            _Operation("DELETE", "/faults", self.clear_faults, "Lift all faults.", dict[str, Any]),
            _Operation(
                "DELETE", "/faults/{number}", self.remove_fault, "Lift one fault.", dict[str, Any], None, _NO_FAULT
            ),
            _Operation("GET", "/clock", self.clock, "The sandbox's time.", Time),
            _Operation("POST", "/clock", self.set_clock, "Skip time, or change its rate.", Time, Advance),
            _Operation("GET", "/snapshot", self.snapshots, "The states that are remembered.", list[Snapshot]),
            _Operation("POST", "/snapshot", self.take, "Remember the state as it is now.", Snapshot),
            _Operation(
                "DELETE",
                "/snapshot/{number}",
                self.forget,
                "Forget a remembered state.",
                dict[str, Any],
                None,
                _NO_STATE,
            ),
            _Operation(
                "POST", "/restore", self.restore, "Go back to a remembered state.", Snapshot, Snapshot, _NO_STATE
            ),
        ]

    async def journal(self, request: Request) -> list[Entry]:
        given = dict(request.query_params)
        wait = _seconds(given.pop("wait", "0"))
        unknown = set(given) - set(Query.__struct_fields__)
        if unknown:
            known = ", ".join((*Query.__struct_fields__, "wait"))
            raise HTTPException(400, f"{min(unknown)!r} is no filter. Known: {known}.")
        try:
            query = msgspec.convert(given, Query, strict=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise HTTPException(400, str(error)) from None
        return await self._world.journal.matching(query, wait)

    async def state(self, request: Request) -> dict[str, Any]:
        del request
        return summary(self._world)

    async def rules(self, request: Request) -> Rules:
        del request
        return self._world.rules

    async def change_rules(self, request: Request) -> Rules:
        change = await _body(request, dict[str, Any])
        try:
            self._world.rules = msgspec.convert({**msgspec.to_builtins(self._world.rules), **change}, Rules)
        except msgspec.ValidationError as error:
            raise HTTPException(400, str(error)) from None
        return self._world.rules

    async def faults(self, request: Request) -> list[Standing]:
        del request
        return [Standing(number, fault, hits) for number, fault, hits in self._world.faults.standing()]

    async def add_fault(self, request: Request) -> Number:
        return Number(self._world.faults.add(await _body(request, Fault)))

    async def clear_faults(self, request: Request) -> dict[str, Any]:
        del request
        self._world.faults.clear()
        return {}

    async def remove_fault(self, request: Request) -> dict[str, Any]:
        if not self._world.faults.remove(_number(request)):
            raise HTTPException(404, "no fault in force has this number. GET /faults lists them.")
        return {}

    async def clock(self, request: Request) -> Time:
        del request
        clock = self._world.clock
        return Time(clock.rate, clock.now(), clock.wall().isoformat())

    async def set_clock(self, request: Request) -> Time:
        change = await _body(request, Advance)
        if change.rate is not None:
            try:
                self._world.clock.set_rate(change.rate)
            except TypeError as error:
                raise HTTPException(400, str(error)) from None
        self._world.clock.advance(change.advance)
        return await self.clock(request)

    async def snapshots(self, request: Request) -> list[Snapshot]:
        del request
        return [Snapshot(number) for number in self._world.snapshots()]

    async def take(self, request: Request) -> Snapshot:
        del request
        if len(self._world.snapshots()) >= _MOST_SNAPSHOTS:
            raise HTTPException(400, f"{_MOST_SNAPSHOTS} states are remembered. DELETE /snapshot/NUMBER forgets one.")
        return Snapshot(self._world.take_snapshot())

    async def forget(self, request: Request) -> dict[str, Any]:
        if not self._world.forget_snapshot(_number(request)):
            raise HTTPException(404, "no remembered state has this number. GET /snapshot lists them.")
        return {}

    async def restore(self, request: Request) -> Snapshot:
        wanted: Snapshot = await _body(request, Snapshot)
        try:
            self._world.restore(wanted.snapshot)
        except KeyError:
            raise HTTPException(
                404, f"there is no snapshot {wanted.snapshot}. POST /snapshot takes one, GET lists them."
            ) from None
        return wanted


def description(operations: list[_Operation]) -> dict[str, Any]:
    """The OpenAPI document of *operations*."""
    kinds = [each for operation in operations for each in (operation.answer, operation.body) if each is not None]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template="#/components/schemas/{name}")
    schema_of = dict(zip([*map(repr, kinds), "problem"], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        answers: dict[str, Any] = {
            "200": _content("Done.", schema_of[repr(each.answer)]),
            "400": _content("Refused: it names what was wrong.", schema_of["problem"]),
            **{str(status): _content(when, schema_of["problem"]) for status, when in each.refusals.items()},
        }
        described: dict[str, Any] = {
            "summary": each.summary,
            "operationId": each.handler.__name__,
            "responses": answers,
        }
        in_path = [
            {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "integer"}}
            for part in each.path.split("/")
            if part.startswith("{")
        ]
        in_query = [
            {"name": name, "in": "query", "description": meaning, "schema": {"type": kind}}
            for name, (kind, meaning) in each.query.items()
        ]
        if in_path or in_query:
            described["parameters"] = [*in_path, *in_query]
        if each.body is not None:
            described["requestBody"] = {"required": True, **_content("", schema_of[repr(each.body)])}
            del described["requestBody"]["description"]
        paths.setdefault(each.path, {})[each.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": _VERSION, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components},
    }


def _content(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _answering(handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return _json(await handler(request))

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    del request
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return Response(msgspec.json.encode(Problem(detail)), status_code=status, media_type="application/json")


async def _body(request: Request, kind: type[Any]) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            raise HTTPException(400, f"the body is longer than {_LONGEST_BODY} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValidationError among them
        raise HTTPException(400, str(error)) from None


def _number(request: Request) -> int:
    """The number in the path; 0, which nothing has, when it is none."""
    given = str(request.path_params["number"])
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= _DIGITS else 0


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise HTTPException(400, f"wait: must be a number of seconds from 0 to {_LONGEST_WAIT:.0f}")
    return seconds


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
