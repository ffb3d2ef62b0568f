"""ServiceAccount tokens: signed as kube-apiserver signs them, and published for whoever has to check them."""

import uuid
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from keystead_sandbox.clock import Clock
from keystead_sandbox.kube.errors import bad_request, conflict, invalid, not_decoded, not_found
from keystead_sandbox.kube.kinds import SECRETS
from keystead_sandbox.kube.store import Store

_DEFAULT_LIFE, _SHORTEST_LIFE, _LONGEST_LIFE = 3600, 600, 2**32
_NOT_HERE = {"Pod": "pods", "Node": "nodes"}
_REQUEST = ("authentication.k8s.io", "TokenRequest", "")


class TokenIssuer:
    """One signing key; older ones stay published after a rotation."""

    def __init__(self, clock: Clock, issuer: str, key: RSAKey | None = None) -> None:
        self._clock = clock
        self.issuer = issuer
        self._made: list[RSAKey] = [] if key is None else [key]

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self._keys.insert(0, _new_key())

    def retire(self) -> None:
        """Publish and accept the newest key alone: tokens of older ones are tokens of nobody from now on."""
        del self._keys[1:]

    @property
    def _keys(self) -> list[RSAKey]:
        """Newest first. The first is made when it is needed: many clusters of tests never sign anything."""
        if not self._made:
            self._made.append(_new_key())
        return self._made

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

    def bound(self, reference: Any, store: Store, namespace: str) -> dict[str, Any]:
        """The claims of the object that a token shall live no longer than."""
        if not reference:
            return {}
        kind, name = reference.get("kind"), reference.get("name", "")
        found = store.get(SECRETS, namespace, name) if kind == "Secret" else None
        if kind in _NOT_HERE:
            raise not_found("", _NOT_HERE[kind], name)  # none of these ever is
        if kind != "Secret":
            group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
            raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        if found is None:
            raise not_found("", "secrets", name)
        if reference.get("uid") not in (None, "", found["metadata"]["uid"]):
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise conflict("", "Secret", name, why)
        return {"secret": {"name": name, "uid": found["metadata"]["uid"]}}

    def issue(
        self, account: dict[str, Any], audiences: list[str], seconds: Any = None, bound: dict[str, Any] | None = None
    ) -> tuple[str, int]:
        """A token, and the second at which it expires."""
        metadata = account["metadata"]
        now = int(self._clock.wall().timestamp())
        expires = now + _life(seconds)
        namespace, name = metadata["namespace"], metadata["name"]
        about = {"namespace": namespace, "serviceaccount": {"name": name, "uid": metadata["uid"]}, **(bound or {})}
        claims = {
            "aud": audiences or [self.issuer],
            "exp": expires,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": about,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        header = {"alg": "RS256", "kid": self._keys[0].kid}
        return jwt.encode(header, claims, self._keys[0], algorithms=["RS256"]), expires

    def verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token of ours that has not expired; ``None`` when it is none."""
        try:
            claims = jwt.decode(token, KeySet(list(self._keys)), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        if claims["exp"] <= self._clock.wall().timestamp():
            return None
        return dict(claims)


def asked(given: Any, account: str) -> dict[str, Any]:
    """The spec of a TokenRequest for *account*. ApiError when the body is none, or is for another one."""
    if not isinstance(given, dict):
        raise bad_request("the request's body is not an object")
    kind, version = given.get("kind") or "TokenRequest", given.get("apiVersion") or ""
    if kind != "TokenRequest":
        text = f"converting ({version.rpartition('/')[2]}.{kind}) to (authentication.TokenRequest): unknown conversion"
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a TokenRequest: {text}')
    name = (given.get("metadata") or {}).get("name")
    if name not in (None, "", account):
        text = f'Invalid value: "{name}": must match the service account name if specified'
        raise invalid(*_REQUEST[:2], account, [("metadata.name", "FieldValueInvalid", text)])
    spec = given.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int)):
        shown = {str: "string", bool: "bool", list: "array", dict: "object"}.get(type(seconds), "number")
        field = "Go struct field TokenRequestSpec.spec.expirationSeconds of type int64"
        raise not_decoded("TokenRequest", "v1", f"json: cannot unmarshal {shown} into {field}")
    return dict(spec)


def _life(seconds: Any) -> int:
    """How long a token lives; the bounds are those of the TokenRequest reference."""
    if seconds is None:
        return _DEFAULT_LIFE
    text = ""
    if not isinstance(seconds, int) or seconds < _SHORTEST_LIFE:
        text = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST_LIFE:
        text = f"Invalid value: {seconds}: may not specify a duration larger than 2^32 seconds"
    if text:
        raise invalid(*_REQUEST, [("spec.expirationSeconds", "FieldValueInvalid", text)])
    return int(seconds)


def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": uuid.uuid4().hex, "use": "sig", "alg": "RS256"})
