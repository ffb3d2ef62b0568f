"""A pytest plugin: writes down the first thing that fails, and how, as JSON into the file that ``--first-failure`` names."""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--first-failure", type=Path, required=True, help="where the first failure is written down")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Witness(config.getoption("--first-failure")))


class _Witness:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note(report.nodeid, "collect", [], str(report.longrepr))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        if report.failed and call.excinfo is not None:
            kinds = sorted({type(each).__name__ for each in _leaves(call.excinfo.value)})
            self._note(item.nodeid, report.when, kinds, str(call.excinfo.value))
        return report

    def _note(self, test: str, when: str, kinds: list[str], text: str) -> None:
        if not self._found:
            self._found = True
            lines = [line for line in text.strip().splitlines() if line.strip()] or [""]
            line = lines[-1] if when == "collect" else lines[0]
            self._path.write_text(json.dumps({"test": test, "when": when, "kinds": kinds, "text": line[:300]}))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
