"""Resource Manager and Entra against a simple model, in orders that nobody thought of, on virtual time.

``KEYSTEAD_MODEL_EXAMPLES=2000 pytest tests/sandbox/test_azure_model.py`` looks longer.
"""

import asyncio
import os
from typing import Any

import httpx2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandbox.azure_model import HOLD, LIMIT, TOKEN_LIFE, Held, Known, Model
from sandbox.azure_virtual import ARM_RESOURCE, Azure

EXAMPLES = int(os.environ.get("KEYSTEAD_MODEL_EXAMPLES", "100"))  # noqa: TID251 - a test's own setting
ISSUERS = ("https://oidc.example.test/a/", "https://oidc.example.test/A/")
SUBJECTS = ("system:serviceaccount:shop:pay", "system:serviceaccount:shop:Pay", "system:serviceaccount:shop:rest")
WHERE = st.sampled_from(["alpha", "beta", "gamma"])
NAMES = st.sampled_from(["fic-one", "fic-two", "fic-three", "standing-00", "standing-01"])
TRUST = st.tuples(st.sampled_from(ISSUERS), st.sampled_from(SUBJECTS))
WRITERS = st.sampled_from(["owner", "contributor"])


class Credentials(RuleBasedStateMachine):
    """Every answer is what the model says, and after every step both hold the same."""

    def __init__(self) -> None:
        super().__init__()
        self.azure = Azure()
        self.model = Model()
        self.storms = 0
        self.clients: list[str] = []  # of every identity there ever was
        self.under_way: list[tuple[asyncio.Task[httpx2.Response], int]] = []
        self.tokens: list[tuple[str, float]] = []
        self.azure.run(self._people())

    async def _people(self) -> None:
        world, group = self.azure.world, self.azure.group.id
        for name, role in (("contributor", "Managed Identity Contributor"), ("reader", "Reader")):
            added = world.add_application(name, secret="unused")
            world.assign_role(added.object_id, role, group)
        await self._sign_in()

    async def _sign_in(self) -> None:
        issue = self.azure.app.authority.issue
        self.bearers = {
            each.name: {"Authorization": f"Bearer {issue(each, ARM_RESOURCE)}"}
            for each in self.azure.world.applications.values()
        }

    def teardown(self) -> None:
        self.azure.close()

    def _sync(self) -> float:
        """The time, once nothing is about to change."""
        now = self.azure.now
        self.model.pass_time(now)
        # What comes first, a request or a change of the same instant, is a matter of rounding.
        while any(abs(moment - now) < 0.02 for moment in self.model.moments(now)):
            self.azure.run(asyncio.sleep(0.05))
            now = self.azure.now
            self.model.pass_time(now)
        for task, status in [each for each in self.under_way if each[0].done()]:
            assert task.result().status_code == status
            self.under_way.remove((task, status))
        return now

    def _ask(self, caller: str, method: str, path: str, body: Any = None) -> "asyncio.Task[httpx2.Response]":
        """A request, until it is answered or waits."""
        task: asyncio.Task[httpx2.Response] = self.azure.loop.create_task(
            self.azure.arm(method, path, self.bearers[caller], body)
        )
        self.azure.run(_a_moment(task))
        return task

    # What people do ----------------------------------------------------------------------------------------------

    @initialize(standing=st.integers(LIMIT - 3, LIMIT), spare=st.booleans())
    def begin(self, standing: int, *, spare: bool) -> None:
        """One identity that is nearly full, and perhaps some that are empty."""
        self.create_identity("alpha")
        if spare:
            self.create_identity("beta")
            self.create_identity("gamma")
        self.azure.run(self._stand(standing))

    async def _stand(self, count: int) -> None:
        identity = self.azure.world.identity(self.azure.path("alpha"))
        assert identity is not None
        for number in range(count):
            name, subject = f"standing-{number:02}", f"system:serviceaccount:old:{number}"
            made = self.azure.world.add_credential(identity, name, ISSUERS[0], subject)
            self.model.identities["alpha"].held[name] = Held(name, ISSUERS[0], subject, made.written_at)

    @rule(caller=WRITERS, where=WHERE, name=NAMES, trust=TRUST)
    def write(self, caller: str, where: str, name: str, trust: tuple[str, str]) -> None:
        body = {"properties": {"issuer": trust[0], "subject": trust[1], "audiences": ["api://AzureADTokenExchange"]}}
        self._write(caller, "PUT", where, name, trust, body)

    @rule(caller=WRITERS, where=WHERE, name=NAMES)
    def delete(self, caller: str, where: str, name: str) -> None:
        self._write(caller, "DELETE", where, name, None, None)

    def _write(self, caller: str, method: str, where: str, name: str, trust: tuple[str, str] | None, body: Any) -> None:
        now = self._sync()
        landings = len(self.model.landings)
        status, wait = self.model.write(where, name, trust, now)
        task = self._ask(caller, method, f"{self.azure.path(where)}/federatedIdentityCredentials/{name}", body)

        begun = len(self.model.landings) > landings
        assert task.done() is not begun
        if begun:
            self.under_way.append((task, status))
            return
        answer = task.result()
        assert answer.status_code == status
        if status == 429:
            assert wait - 0.01 <= int(answer.headers["Retry-After"]) <= wait + 1.01

    @precondition(lambda self: self.storms < 10)  # Resource Manager's own bucket holds 200, and has tests of its own
    @rule(times=st.integers(1, 3))
    def storm(self, times: int) -> None:
        """Deletes of what is not there hold nothing, but cost a token each."""
        self.storms += 1
        for where in ("alpha", "beta", "gamma") * times:
            self._write("owner", "DELETE", where, "never-there", None, None)

    @rule(where=WHERE, name=NAMES, trust=TRUST)
    def write_without_a_role(self, where: str, name: str, trust: tuple[str, str]) -> None:
        self._sync()
        body = {"properties": {"issuer": trust[0], "subject": trust[1], "audiences": ["api://AzureADTokenExchange"]}}
        path = f"{self.azure.path(where)}/federatedIdentityCredentials/{name}"

        assert self._ask("reader", "PUT", path, body).result().status_code == 403
        assert self._ask("reader", "DELETE", path).result().status_code == 403

    @rule(where=WHERE)
    def create_identity(self, where: str) -> None:
        self._sync()
        answer = self._ask("owner", "PUT", self.azure.path(where), {"location": "westeurope"}).result()

        assert answer.status_code == (200 if where in self.model.identities else 201)
        client = answer.json()["properties"]["clientId"]
        if where not in self.model.identities:
            assert client not in self.clients
            self.model.identities[where] = Known(client)
            self.clients.append(client)
        assert self.model.identities[where].client_id == client

    @rule(where=WHERE)
    def delete_identity(self, where: str) -> None:
        self._sync()
        answer = self._ask("owner", "DELETE", self.azure.path(where)).result()

        assert answer.status_code == (200 if self.model.identities.pop(where, None) else 204)

    @rule(where=WHERE)
    def list_credentials(self, where: str) -> None:
        now = self._sync()
        answer = self._ask("reader", "GET", f"{self.azure.path(where)}/federatedIdentityCredentials").result()

        if where not in self.model.identities:
            assert answer.status_code == 404
        elif self.model.take("list", where, now):
            assert answer.status_code == 429
        else:
            assert {each["name"] for each in answer.json()["value"]} == set(self.model.identities[where].held)

    # What workloads do -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), trust=TRUST)
    def exchange_anything(self, data: st.DataObject, trust: tuple[str, str]) -> None:
        self._exchange(data.draw(st.sampled_from(self.clients)), trust)

    @precondition(lambda self: self.model.trusts())
    @rule(data=st.data())
    def exchange_what_is_or_was_trusted(self, data: st.DataObject) -> None:
        self._exchange(*data.draw(st.sampled_from(self.model.trusts())))

    def _exchange(self, client: str, trust: tuple[str, str]) -> None:
        now = self._sync()
        code = self.model.exchange(client, *trust, now)
        answer = self.azure.run(self.azure.exchange(client, *trust))

        assert answer.json().get("error_codes", [0]) == [code]
        if code == 0:
            self.tokens.append((answer.json()["access_token"], now))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def use_a_token(self, data: st.DataObject) -> None:
        """It lives to its end, whatever became of the credential and the identity."""
        token, issued = data.draw(st.sampled_from(self.tokens))
        now = self._sync()
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.azure.run(self.azure.arm("GET", "/subscriptions", headers, version="2022-12-01"))

        assert abs(now - issued - TOKEN_LIFE) < 2 or answer.status_code == (200 if now < issued + TOKEN_LIFE else 401)

    @rule(seconds=st.sampled_from([0.3, HOLD / 2, HOLD + 0.1, 4.1, 14.0, 16.0, 45.0, 61.0, 91.0, 3000.0]))
    def wait(self, seconds: float) -> None:
        self.azure.run(asyncio.sleep(seconds))

    @precondition(lambda self: self._changes())
    @rule(data=st.data(), late=st.booleans())
    def wait_for_a_change(self, data: st.DataObject, *, late: bool) -> None:
        """Until just before something changes by itself, or just after."""
        moment = data.draw(st.sampled_from(self._changes()))
        self.azure.run(asyncio.sleep(moment - self.azure.now + (0.1 if late else -0.1)))

    def _changes(self) -> list[float]:
        now = self.azure.now
        return [moment for moment in self.model.moments(now) if moment > now + 0.2]

    @rule()
    def wait_a_day(self) -> None:
        self.azure.run(asyncio.sleep(TOKEN_LIFE))
        self.azure.run(self._sign_in())

    # What is always so -------------------------------------------------------------------------------------------

    @invariant()
    def both_hold_the_same(self) -> None:
        self._sync()
        world = {each.name: each for each in self.azure.world.identities.values()}
        assert set(world) == set(self.model.identities)
        for name, identity in world.items():
            found = [(each.name, each.issuer, each.subject) for each in identity.credentials.values()]
            expected = [(each.name, each.issuer, each.subject) for each in self.model.identities[name].held.values()]
            assert sorted(found) == sorted(expected)
            assert len(found) <= LIMIT
            assert len({trust[1:] for trust in found}) == len(found)


async def _a_moment(task: "asyncio.Task[httpx2.Response]") -> None:
    await asyncio.wait({task}, timeout=0.001)


TestCredentialsFollowTheModel = Credentials.TestCase
TestCredentialsFollowTheModel.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
