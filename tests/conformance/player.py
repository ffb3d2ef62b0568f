"""Plays a case on a cluster, and says what the cluster answered."""

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import msgspec

from conformance.cases import VERBS, WORDS, Case, filled
from conformance.likeness import Likeness

_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_TIMEOUT = 30.0  # seconds for one answer
_PATIENCE = 120.0  # seconds for what controllers do in their own time; they learn of a new kind in half a minute
_AGENT = "conformance/1"
Answer = dict[str, Any]
_counter = itertools.count(1)


class Player:
    """A cluster as its users see it: *tokens* by the name of the user, of which one is ``admin``."""

    def __init__(self, address: str, tokens: Mapping[str, str], verify: Any, *, is_real: bool) -> None:
        self.is_real = is_real
        self.address = address
        self._tokens = tokens
        self._http = httpx2.Client(base_url=address, verify=verify, timeout=_TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def play(self, case: Case) -> list[Answer | None]:
        """The answers, made comparable; ``None`` where the case does not compare."""
        word = f"c{os.getpid():x}x{next(_counter):x}"
        words = {**WORDS, "$ns": word, "$n": word, "$server": self.address}
        likeness = Likeness({"$ns": word, "$server": self.address})
        self.send({"POST": "/api/v1/namespaces", "body": {"metadata": {"name": word}}})
        answers: list[Answer | None] = []
        for given in case.steps:
            step = filled(dict(given), words)
            answer = self._until(step) if "until" in step else self.send(step)
            for name, place in (step.get("keep") or {}).items():
                words["${" + name + "}"] = look(answer["body"], place)
            quiet = step.get("quiet") or "until" in step
            assert not step.get("quiet") or answer["status"] < 400, f"{given}: {answer}"
            shown = {name: likeness.of(value) for name, value in answer.items()}
            answers.append(None if quiet else shown)
        return answers

    def _until(self, step: Mapping[str, Any]) -> Answer:
        wanted, end = step["until"], time.monotonic() + _PATIENCE
        while True:
            answer = self.send(step)
            if isinstance(wanted, int):
                met = answer["status"] == wanted
            else:
                met = all(look(answer["body"], place) == value for place, value in wanted.items())
            if met:
                return answer
            assert time.monotonic() < end, f"never {wanted}: {answer}"
            time.sleep(0.05)

    def send(self, step: Mapping[str, Any]) -> Answer:
        """One request."""
        verb = next(each for each in VERBS if each in step)
        token = step.get("token", self._tokens.get(step.get("as", "admin"), ""))
        headers = {"User-Agent": _AGENT} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = b""
        if "text" in step:
            content = step["text"].encode()
        elif "body" in step:
            content = msgspec.json.encode(step["body"])
        if content or verb == "PATCH":
            type_ = step.get("type", "application/json")
            headers["Content-Type"] = _TYPES.get(type_, type_)
        raw = [*headers.items()]
        for name, values in (step.get("headers") or {}).items():
            raw += [(name, each) for each in (values if isinstance(values, list) else [values])]
        if verb == "WATCH":
            return self._watch(step, raw)
        answer = self._http.request(verb, step[verb], content=content, headers=raw)
        return _shown(answer)

    def _watch(self, step: Mapping[str, Any], headers: list[tuple[str, str]]) -> Answer:
        path = step["WATCH"] + ("&" if "?" in step["WATCH"] else "?") + "watch=1"
        with self._http.stream("GET", path, headers=headers) as answer:
            if answer.status_code != 200 or "json" not in answer.headers.get("content-type", ""):
                answer.read()
                return _shown(answer)
            lines = (msgspec.json.decode(line) for line in answer.iter_lines())
            return {"status": 200, "body": list(_some(lines, step.get("events")))}


def _some(lines: Iterator[Any], count: int | None) -> Iterator[Any]:
    """The first *count* events that are no bookmarks by the clock; all until the watch ends when it is ``None``."""
    for number, line in enumerate(lines, start=1):
        yield line
        if count is not None and number >= count:
            return


def _shown(answer: httpx2.Response) -> Answer:
    type_ = answer.headers.get("content-type", "").partition(";")[0]
    body: Any = answer.text
    if type_ == "application/json":
        body = msgspec.json.decode(answer.content) if answer.content else ""
    else:
        body = {"type": type_, "text": answer.text}
    shown: Answer = {"status": answer.status_code, "body": body}
    if "warning" in answer.headers:
        shown["warning"] = answer.headers.get_list("warning")
    return shown


def look(value: Any, place: str) -> Any:
    """What is at ``a.0.b`` of an answer; ``None`` when nothing is."""
    for part in place.split(".") if place else ():
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part.replace("~1", ".")) if isinstance(value, dict) else None
    return value
