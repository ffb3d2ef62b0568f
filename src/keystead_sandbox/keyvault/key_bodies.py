"""Pure: the bodies of requests about keys, and the rules that they must keep to."""

import calendar
import datetime
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from keystead_sandbox.keyvault import errors, material, rules

OPERATIONS = ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey")
_OF_CURVES = ("sign", "verify")
_ELSEWHERE = ("import", "export")  # allowed, and without meaning for a key in a vault
_DURATION = re.compile(r"P(?=\d)(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T0H0M0S)?", re.ASCII)
_LEAST_EXPIRY = datetime.timedelta(days=28)
_LEAST_ROTATION = datetime.timedelta(days=7)
_NOTICE = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}


class ReleasePolicy(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """To whom an exportable key may be released."""

    data: str
    content_type: str = msgspec.field(default="", name="contentType")
    immutable: bool = False


class KeyChange(rules.Change, frozen=True):
    """The body of a key's update."""

    key_ops: list[str] | None = None
    release_policy: ReleasePolicy | None = None


class NewKey(KeyChange, frozen=True):
    """The body of a creation."""

    kty: str = ""
    key_size: int | None = None
    crv: str | None = None
    public_exponent: int | None = None


class JsonWebKey(msgspec.Struct, frozen=True):
    """A private key as RFC 7517 writes it."""

    kty: str
    kid: str | None = None
    key_ops: list[str] | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    d: str | None = None
    p: str | None = None
    q: str | None = None
    x: str | None = None
    y: str | None = None

    def __repr__(self) -> str:
        return f"JsonWebKey({self.kty})"


class ImportedKey(KeyChange, frozen=True):
    """The body of an import."""

    key: JsonWebKey | None = None
    hsm: bool | None = msgspec.field(default=None, name="Hsm")


class Octets(msgspec.Struct, frozen=True):
    """The body of a cryptographic operation; ``value`` is what it works on, or a signature to verify."""

    alg: str
    value: str
    digest: str = ""

    def __repr__(self) -> str:
        return f"Octets({self.alg})"


class _Named(msgspec.Struct, frozen=True):
    type: str


class _Trigger(msgspec.Struct, frozen=True, rename="camel"):
    time_after_create: str | None = None
    time_before_expiry: str | None = None


class LifetimeAction(msgspec.Struct, frozen=True):
    """What happens to a key when."""

    action: _Named
    trigger: _Trigger | None = None


class _RotationAttributes(msgspec.Struct, frozen=True, rename="camel"):
    expiry_time: str | None = None


class RotationPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a rotation policy."""

    lifetime_actions: list[LifetimeAction] | None = None
    attributes: _RotationAttributes | None = None

    def wire(self) -> dict[str, Any]:
        """As it is answered, but for id and times: whoever names no notice gets one thirty days before the end."""
        expiry = (self.attributes or _RotationAttributes()).expiry_time
        if expiry and _days(expiry, "attributes.expiryTime") < _LEAST_EXPIRY:
            raise errors.bad("The expiry time of a rotation policy is at least 28 days.")
        actions = [_lifetime(given) for given in self.lifetime_actions or []]
        if all(action["action"]["type"] != "Notify" for action in actions):
            actions.append(_NOTICE)
        return {"lifetimeActions": actions, "attributes": {"expiryTime": expiry} if expiry else {}}


def default_rotation() -> dict[str, Any]:
    """The rotation policy of a key that was given none."""
    return RotationPolicy().wire()


def check_new(new: NewKey) -> tuple[int, str, int]:
    """Size, curve and exponent of a key that a vault makes."""
    rules.check(new)
    if new.kty.lower().startswith("oct"):
        raise errors.bad("Symmetric keys are supported in managed HSMs alone, not in vaults.")
    rules.one_of(new.kty, material.KINDS, "kty")
    size, curve, exponent = new.key_size or 2048, new.crv or "P-256", new.public_exponent or 65537
    if new.kty.startswith("RSA"):
        if size not in material.SIZES:
            raise rules.invalid("key_size")
        if exponent not in (3, 65537):
            raise rules.invalid("public_exponent")
    else:
        rules.one_of(curve, tuple(material.CURVES), "crv")
    check_operations(new.kty, new.key_ops)
    return size, curve, exponent


def read_private(given: ImportedKey) -> tuple[str, bytes]:
    """Kind and material of a key that is imported."""
    rules.check(given)
    jwk = given.key
    if jwk is None:
        raise rules.invalid("key")
    if jwk.kty.lower().startswith("oct"):
        raise errors.bad("Symmetric keys are supported in managed HSMs alone, not in vaults.")
    rules.one_of(jwk.kty, material.KINDS, "key.kty")
    if jwk.kty.startswith("EC"):
        rules.one_of(jwk.crv or "", tuple(material.CURVES), "key.crv")
    check_operations(jwk.kty, jwk.key_ops)
    try:
        numbers = {name: value for name, value in msgspec.structs.asdict(jwk).items() if isinstance(value, str)}
        private = material.from_jwk(numbers)
    except ValueError:
        raise errors.bad("The key material is not valid.") from None
    kind = jwk.kty.removesuffix("-HSM")
    return f"{kind}-HSM" if given.hsm or jwk.kty.endswith("-HSM") else kind, private


def check_operations(kty: str, wanted: Sequence[str] | None) -> None:
    """Whether a key of this kind can do all that it is asked to."""
    able = _OF_CURVES if kty.startswith("EC") else OPERATIONS
    for operation in wanted or ():
        rules.one_of(operation, (*able, *_ELSEWHERE), "key_ops")


def operations(kty: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """What a key may be used for; all that it can when nothing is said."""
    if wanted is not None:
        return tuple(dict.fromkeys(wanted))
    return _OF_CURVES if kty.startswith("EC") else OPERATIONS


def check_exportable(*, exportable: bool, policy: ReleasePolicy | None) -> None:
    """An exportable key has a release policy, and no other has one."""
    if exportable and policy is None:
        raise errors.bad("AKV.SKR.1004: Exportable keys must have release policy.")
    if policy is not None and not exportable:
        raise errors.bad("AKV.SKR.1005: Non-exportable keys must not have release policy.")


def later(moment: datetime.datetime, duration: str) -> datetime.datetime:
    """*moment* and a duration such as ``P90D`` or ``P1Y``."""
    years, months, weeks, days = _parts(duration, "attributes.expiryTime")
    return after_months(moment, 12 * years + months) + datetime.timedelta(days=7 * weeks + days)


def after_months(moment: datetime.datetime, months: int) -> datetime.datetime:
    """The same day so many months later, or the last of that month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not datetime.MINYEAR <= year <= datetime.MAXYEAR - 1:
        raise rules.invalid("validity")
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def _lifetime(given: LifetimeAction) -> dict[str, Any]:
    kind = given.action.type.capitalize()
    rules.one_of(kind, ("Rotate", "Notify"), "lifetimeActions.action.type")
    trigger = given.trigger or _Trigger()
    shown = {
        name: value
        for name, value in (
            ("timeAfterCreate", trigger.time_after_create),
            ("timeBeforeExpiry", trigger.time_before_expiry),
        )
        if value
    }
    if len(shown) != 1:
        raise rules.invalid("lifetimeActions.trigger")
    if kind == "Rotate" and any(_days(value, "lifetimeActions.trigger") < _LEAST_ROTATION for value in shown.values()):
        raise errors.bad("A key rotates seven days after its creation, or before its expiry, at the least.")
    return {"trigger": shown, "action": {"type": kind}}


def _days(duration: str, place: str) -> datetime.timedelta:
    years, months, weeks, days = _parts(duration, place)
    return datetime.timedelta(days=365 * years + 30 * months + 7 * weeks + days)


def _parts(duration: str, place: str) -> tuple[int, int, int, int]:
    match = _DURATION.fullmatch(duration.upper())
    if match is None:
        raise rules.invalid(place)
    years, months, weeks, days = (int(part or 0) for part in match.groups())
    return years, months, weeks, days
