"""Pure: does a grant make sense? Every problem names its field, what was given, what is allowed, and the cure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.ids import IdentityId, VaultUrl
from keystead.model.reasons import Reason
from keystead.model.records import Grant

_PROJECT = re.compile(r"^(c-[a-z0-9-]+:)?p-[a-z0-9]+$|^local:p-[a-z0-9]+$")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that makes no sense."""

    path: str
    given: str
    allowed: str
    reason: Reason = Reason.GRANT_INVALID

    def __str__(self) -> str:
        return f"{self.path}: {self.given} {self.allowed}"


@dataclass(frozen=True, slots=True)
class Member:
    """An identity of the pool, parsed."""

    identity: IdentityId
    reserved: int


@dataclass(frozen=True, slots=True)
class Validated:
    """A grant that makes sense, parsed."""

    grant: Grant
    vault: VaultUrl
    pool: tuple[Member, ...]


def check(grant: Grant, others: Iterable[Grant]) -> Validated | tuple[Problem, ...]:
    """The parsed grant, or all its problems at once."""
    problems = [*_namespace_problems(grant), *_pool_problems(grant, others), *_other_problems(grant)]
    vault: VaultUrl | None = None
    try:
        vault = VaultUrl.parse(grant.vault_url)
    except ValueError as error:
        problems.append(Problem("spec.vault.url", repr(grant.vault_url), str(error)))
    if problems or vault is None:
        return tuple(problems)
    pool = tuple(Member(IdentityId.parse(each.resource_id), each.reserved_slots) for each in grant.identities)
    return Validated(grant, vault, pool)


def _namespace_problems(grant: Grant) -> Iterator[Problem]:
    rule = grant.namespaces
    if rule.selector is None and not rule.names and not rule.rancher_projects:
        yield Problem(
            "spec.namespaces",
            "nothing",
            "allows nothing: give selector, names or rancherProjects (selector: {} is every namespace)",
        )
    for index, name in enumerate(rule.names):
        if not _DNS_LABEL.match(name):
            yield Problem(f"spec.namespaces.names[{index}]", repr(name), "is not a namespace's name")
    for index, project in enumerate(rule.rancher_projects):
        if not _PROJECT.match(project):
            yield Problem(
                f"spec.namespaces.rancherProjects[{index}]",
                repr(project),
                "is not a project: give c-xxxxx:p-xxxxx or p-xxxxx",
            )
    for index, requirement in enumerate(rule.selector.match_expressions if rule.selector else ()):
        path = f"spec.namespaces.selector.matchExpressions[{index}]"
        if requirement.operator not in _OPERATORS:
            yield Problem(f"{path}.operator", repr(requirement.operator), f"is not one of {', '.join(_OPERATORS)}")
        elif (requirement.operator in ("In", "NotIn")) != bool(requirement.values):
            yield Problem(
                f"{path}.values", repr(list(requirement.values)), "must be given with In and NotIn, and only with them"
            )


def _pool_problems(grant: Grant, others: Iterable[Grant]) -> Iterator[Problem]:
    if not grant.identities:
        yield Problem("spec.identities", "no identity", "has no slot to give: name at least one user-assigned identity")
    elsewhere = {_key(each.resource_id): other.name for other in others for each in other.identities}
    seen: dict[str, int] = {}
    for index, member in enumerate(grant.identities):
        path = f"spec.identities[{index}]"
        try:
            key = IdentityId.parse(member.resource_id).key
        except ValueError as error:
            yield Problem(f"{path}.resourceId", repr(member.resource_id), str(error))
            continue
        if key in seen:
            yield Problem(
                f"{path}.resourceId",
                repr(member.resource_id),
                f"stands at spec.identities[{seen[key]}] already: name it once",
            )
        seen.setdefault(key, index)
        if key in elsewhere:
            yield Problem(
                f"{path}.resourceId",
                repr(member.resource_id),
                f"stands in VaultGrant {elsewhere[key]} too: leave each identity in one grant only",
                Reason.IDENTITY_SHARED,
            )
        if not 0 <= member.reserved_slots <= CREDENTIALS_PER_IDENTITY:
            yield Problem(
                f"{path}.reservedSlots", str(member.reserved_slots), f"is not between 0 and {CREDENTIALS_PER_IDENTITY}"
            )


def _other_problems(grant: Grant) -> Iterator[Problem]:
    if grant.max_claims_per_namespace < 1:
        yield Problem("spec.maxClaimsPerNamespace", str(grant.max_claims_per_namespace), "must be at least 1")


def _key(resource_id: str) -> str:
    return resource_id.strip().rstrip("/").lower()
