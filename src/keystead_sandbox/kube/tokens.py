"""ServiceAccount tokens: signed as kube-apiserver signs them, and published for whoever has to check them."""

import uuid
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from keystead_sandbox.clock import Clock

_DEFAULT_LIFE, _SHORTEST_LIFE, _LONGEST_LIFE = 3600, 600, 2**32


class TokenIssuer:
    """One signing key; older ones stay published after a rotation."""

    def __init__(self, clock: Clock, issuer: str) -> None:
        self._clock = clock
        self.issuer = issuer
        self._keys = [_new_key()]

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self._keys.insert(0, _new_key())

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer.rstrip('/')}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def jwks(self) -> dict[str, Any]:
        return dict(KeySet(list(self._keys)).as_dict(private=False))

    def issue(self, account: dict[str, Any], audiences: list[str], seconds: int) -> tuple[str, int]:
        """A token, and the second at which it expires."""
        metadata = account["metadata"]
        now = int(self._clock.wall().timestamp())
        expires = now + min(_LONGEST_LIFE, max(_SHORTEST_LIFE, seconds or _DEFAULT_LIFE))
        namespace, name = metadata["namespace"], metadata["name"]
        claims = {
            "aud": audiences or [self.issuer],
            "exp": expires,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": metadata["uid"]}},
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        header = {"alg": "RS256", "kid": self._keys[0].kid}
        return jwt.encode(header, claims, self._keys[0], algorithms=["RS256"]), expires

    def verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token of ours for the API server itself; ``None`` when it is none."""
        try:
            claims = jwt.decode(token, KeySet(list(self._keys)), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        if self.issuer not in claims["aud"] or claims["exp"] <= self._clock.wall().timestamp():
            return None
        return dict(claims)


def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": uuid.uuid4().hex, "use": "sig", "alg": "RS256"})
