from collections.abc import AsyncIterator

import pytest

from sandbox_kube.kube_api import Api, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as opened:
        yield opened
