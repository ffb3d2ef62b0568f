"""The token endpoint: the client credentials grant, with a federated assertion, a certificate's, or a client secret.

- The checks come in the order that Entra's answers suggest (inferred): request, tenant, client, scope's presence,
  assertion, directory and issuer, signature, time, subject, audience, resource.
- The v1 endpoint differs in what it is asked for (``resource`` in place of ``scope``) and in writing numbers as text.
- The journal learns who asked for what and the outcome's code: never an assertion, a secret or a token, nor a client id
  that is no GUID, since people put secrets there by mistake.
"""

import hmac
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keystead_sandbox.clouds import cloud_at
from keystead_sandbox.entra import rules
from keystead_sandbox.entra.assertions import Assertion, read_assertion
from keystead_sandbox.entra.errors import RefusedError
from keystead_sandbox.entra.forms import read_form, required
from keystead_sandbox.entra.state import Directory, Issuers, host_asked
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.resources import Application, Identity
from keystead_sandbox.world import World

_LONGEST_FIELD = 600  # what a credential's own fields may hold; a claim may be longer, the journal need not


class Grants:
    """Both versions of the endpoint."""

    def __init__(self, world: World, authority: TokenAuthority, issuers: Issuers) -> None:
        self._world = world
        self._authority = authority
        self._directory = Directory(world)
        self._issuers = issuers

    async def token(self, request: Request) -> Response:
        """``/oauth2/v2.0/token``."""
        form = await self._form(request)
        principal, tenant = self._client(request, form)
        scope = required(form, "scope")
        certificate = await self._prove(request, principal, form)
        audience = rules.resource_of(scope, tenant=tenant, cloud=cloud_at(host_asked(request)))
        return JSONResponse(self._granted(request, principal, audience, form, certificate=certificate))

    async def token_v1(self, request: Request) -> Response:
        """``/oauth2/token``, which clients from before the v2.0 endpoint use."""
        form = await self._form(request)
        principal, tenant = self._client(request, form)
        resource = required(form, "resource")
        certificate = await self._prove(request, principal, form)
        audience = rules.known_resource(resource, tenant=tenant, cloud=cloud_at(host_asked(request)))
        granted = self._granted(request, principal, audience, form, certificate=certificate)
        now = int(self._world.clock.wall().timestamp())
        text = {name: str(value) for name, value in granted.items()}
        return JSONResponse(
            {**text, "expires_on": str(now + granted["expires_in"]), "not_before": str(now), "resource": resource}
        )

    async def _form(self, request: Request) -> dict[str, str]:
        form = await read_form(request)
        grant = required(form, "grant_type")
        if grant != "client_credentials":
            raise RefusedError(70003, grant_type=grant[:_LONGEST_FIELD])
        return form

    def _client(self, request: Request, form: dict[str, str]) -> tuple[Identity | Application, str]:
        """Who asks, and in which tenant."""
        client_id = required(form, "client_id")
        request.state.note["detail"] = {"client_id": client_id if _is_guid(client_id) else "(not a GUID)"}
        tenant = self._directory.tenant(request)
        found = self._world.identities_by_client.get(client_id.lower()) or self._world.applications.get(
            client_id.lower()
        )
        if found is None or found.tenant_id != tenant:
            raise RefusedError(700016, client_id=client_id[:_LONGEST_FIELD], tenant=tenant)
        return found, tenant

    async def _prove(self, request: Request, principal: Identity | Application, form: dict[str, str]) -> bool:
        """Accept what the form has as *principal*'s proof, or refuse; whether a certificate's key had signed it."""
        if form.get("client_assertion") and form.get("client_assertion_type") == rules.ASSERTION_TYPE:
            return await self._assert(request, principal, form["client_assertion"])
        if not form.get("client_secret"):
            raise RefusedError(7000218)
        _check_secret(principal, form["client_secret"])
        return False

    async def _assert(self, request: Request, principal: Identity | Application, text: str) -> bool:
        assertion = read_assertion(text)
        own = isinstance(principal, Application) and assertion.issuer.lower() == principal.client_id
        if isinstance(principal, Application) and own:
            base = f"https://{host_asked(request)}/{principal.tenant_id}"
            rules.check_certificate(
                assertion,
                principal.certificates,
                endpoints=(f"{base}/oauth2/v2.0/token", f"{base}/oauth2/token", f"{base}/v2.0", base),
                now=self._world.clock.wall(),
            )
        else:
            await self._exchange(request, principal, assertion)
        return own

    async def _exchange(self, request: Request, principal: Identity | Application, assertion: Assertion) -> None:
        """Accept another issuer's token, when a federated credential trusts it."""
        rules.check_tenant(assertion, self._world.tenants[principal.tenant_id])
        request.state.note["detail"].update(
            issuer=assertion.issuer[:_LONGEST_FIELD], subject=assertion.subject[:_LONGEST_FIELD]
        )
        # What the directory shows is read once: a propagation that ends while keys are fetched must not mix two views.
        view = self._directory.view(principal, assertion)
        try:
            trusting = rules.match_issuer(assertion, view, client_id=principal.client_id, name=principal.name)
            key = await self._issuers.key(assertion.issuer, assertion.key_id)
            rules.check_signature(assertion, key)
            rules.check_time(assertion, self._world.clock.wall())
            credential = rules.match_subject(assertion, trusting)
        except RefusedError as refused:
            if refused.code in rules.NO_MATCH:
                self._directory.refuse(principal, assertion, view)
            if self._world.rules.combined_refusals and refused.code in rules.TOLD_APART:
                raise rules.combined(assertion) from None
            raise
        self._directory.use(principal, credential)

    def _granted(
        self, request: Request, principal: Identity | Application, audience: str, form: dict[str, str], *,
        certificate: bool,
    ) -> dict[str, Any]:  # fmt: skip
        request.state.note["caller"] = principal.name or principal.client_id
        request.state.note["detail"]["resource"] = audience
        lifetime = int(self._world.rules.token_lifetime) - 1
        return {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": self._authority.issue(
                principal,
                audience,
                capabilities=rules.capabilities_of(form.get("claims", "")),
                certificate=certificate,
            ),
        }


def _check_secret(principal: Identity | Application, secret: str) -> None:
    # A managed identity has no secret that anybody could know.
    expected = principal.secret if isinstance(principal, Application) else ""
    if not expected or not hmac.compare_digest(expected.encode(), secret.encode("utf-8", "replace")):
        raise RefusedError(7000215, client_id=principal.client_id)


def _is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
