"""What keys compute: sign, verify, encrypt, decrypt, wrap, unwrap.

- In order: the key exists, is enabled, may do the operation (``key_ops``), is in its time, and the algorithm is one that
  such a key has. Outside its time a key still decrypts, unwraps and verifies ("About keys": date-time controlled
  operations).
- A release is refused whatever attestation it brings: the sandbox trusts no attestation service.
"""

from collections.abc import Callable
from typing import TypeAlias

from starlette.responses import Response

from keystead_sandbox.keyvault import access, algorithms, errors, key_bodies, keys, material, rules
from keystead_sandbox.keyvault.call import Call, Handler, Row, answer
from keystead_sandbox.keyvault.material import PrivateKey
from keystead_sandbox.resources import KeyVersion

_Work: TypeAlias = Callable[[PrivateKey, str, bytes], bytes]
_WORK: dict[str, tuple[_Work, tuple[str, ...]]] = {
    "sign": (algorithms.sign, algorithms.SIGNING),
    "encrypt": (algorithms.encrypt, algorithms.ENCRYPTION),
    "decrypt": (algorithms.decrypt, algorithms.ENCRYPTION),
    "wrapKey": (algorithms.encrypt, algorithms.ENCRYPTION),
    "unwrapKey": (algorithms.decrypt, algorithms.ENCRYPTION),
}
_AT_ANY_TIME = ("decrypt", "unwrapKey", "verify")
_RELEASE = access.keys("release", "release/action")
_READ = access.keys("get", "read")


def rows() -> list[Row]:
    """The table's rows about the use of keys; with and without a version."""
    work: list[tuple[str, Handler]] = [("verify", _verify), *((name, _working(name)) for name in _WORK)]
    return [
        *(
            Row(
                "POST",
                f"{path}/{name.lower()}",
                access.keys(name.lower(), f"{name.removesuffix('Key')}/action"),
                handler,
            )
            for name, handler in work
            for path in ("keys/{name}", "keys/{name}/{version}")
        ),
        Row("POST", "keys/{name}/release", _RELEASE, _release),
        Row("POST", "keys/{name}/{version}/release", _RELEASE, _release),
        Row("GET", "keys/{name}/attestation", _READ, _attestation),
        Row("GET", "keys/{name}/{version}/attestation", _READ, _attestation),
        Row("POST", "rng", _READ, _random),
    ]


def _working(operation: str) -> Handler:
    work, known = _WORK[operation]

    async def handler(call: Call) -> Response:
        given = await call.body(key_bodies.Octets)
        value = rules.decoded(given.value, "value")
        held = _usable(call, operation, given.alg, known)
        try:
            result = work(material.loaded(held.private), given.alg, value)
        except ValueError:
            raise errors.bad(f"The key, the algorithm {given.alg} and the value do not fit together.") from None
        return answer({"kid": _kid(call, held), "value": rules.encoded(result)})

    return handler


async def _verify(call: Call) -> Response:
    given = await call.body(key_bodies.Octets)
    digest, signature = rules.decoded(given.digest, "digest"), rules.decoded(given.value, "value")
    held = _usable(call, "verify", given.alg, algorithms.SIGNING)
    try:
        result = algorithms.verify(material.loaded(held.private), given.alg, digest, signature)
    except ValueError:
        raise errors.bad(f"The key, the algorithm {given.alg} and the digest do not fit together.") from None
    return answer({"value": result})


async def _release(call: Call) -> Response:
    held = keys.shelf(call.world, call.vault).find(call.name, call.version)
    if not held.exportable:
        raise errors.operation_forbidden("release")
    raise errors.not_exportable()


async def _attestation(call: Call) -> Response:
    keys.shelf(call.world, call.vault).find(call.name, call.version)
    raise errors.bad("Key attestation is supported in managed HSMs alone, not in vaults.")


async def _random(call: Call) -> Response:
    del call
    raise errors.bad("Random bytes are supported in managed HSMs alone, not in vaults.")


def _usable(call: Call, operation: str, algorithm: str, known: tuple[str, ...]) -> KeyVersion:
    held = keys.shelf(call.world, call.vault).find(call.name, call.version)
    if not held.enabled:
        raise errors.disabled("keys", operation)
    if operation not in held.operations:
        raise errors.operation_forbidden(operation)
    now = call.world.clock.wall()
    if operation not in _AT_ANY_TIME:
        if held.not_before is not None and now < held.not_before:
            raise errors.key_out_of_time(operation, "not yet valid")
        if held.expires is not None and held.expires <= now:
            raise errors.key_out_of_time(operation, "expired")
    if algorithm in algorithms.SYMMETRIC:
        raise errors.bad(f"The algorithm {algorithm} is for symmetric keys, which only managed HSMs hold.")
    rules.one_of(algorithm, known, "alg")
    return held


def _kid(call: Call, held: KeyVersion) -> str:
    return f"{call.base}/keys/{keys.shelf(call.world, call.vault).spelled(call.name)}/{held.version}"
