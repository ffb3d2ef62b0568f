"""Where External Secrets Operator's kinds are served, and as whom it acts.

Facts: ``external-secrets.io/v1`` is served since its 0.16, ``v1beta1`` not any more since 0.17.
"""

import structlog

from keystead.kube.client import Api
from keystead.kube.permissions import ESO

log = structlog.get_logger("keystead.eso")
NEWEST = "v1"
_OLDER = "v1beta1"
ACCOUNT = "external-secrets/external-secrets"
"""The account of its usual installation by Helm."""


class Eso:
    """What is known of it; the version is corrected when its kinds are not where they were."""

    def __init__(self, api: Api, account: str = ACCOUNT) -> None:
        self._api = api
        self.account = account
        """NAMESPACE/NAME."""
        self.version = NEWEST

    @property
    def api_version(self) -> str:
        return f"{ESO}/{self.version}"

    @property
    def stores_path(self) -> str:
        """Of all namespaces."""
        return f"/apis/{self.api_version}/secretstores"

    @property
    def user(self) -> str:
        """Its account as the API server names it."""
        return f"system:serviceaccount:{self.account.replace('/', ':', 1)}"

    def folder(self, namespace: str) -> str:
        return f"/apis/{self.api_version}/namespaces/{namespace}"

    async def locate(self) -> str:
        """Ask which version is served, and return where stores lie; the newest, unless only the older one is there."""
        group = await self._api.get(f"/apis/{ESO}")
        served = {each.get("version") for each in (group or {}).get("versions") or ()}
        version = _OLDER if _OLDER in served and NEWEST not in served else NEWEST
        if version != self.version:
            log.info("External Secrets Operator serves another version", version=version, before=self.version)
        self.version = version
        return self.stores_path
