"""Pure: does a grant make sense? Every problem names its field, what was given, what is allowed, and the cure.

- No namespace rule at all is a problem; an empty selector is a rule, and matches every namespace as in Kubernetes.
- An identity stands once in one grant: listed twice, or in two grants, it freezes each grant that lists it.
- What goes by a name that a growing pool gives stands in that pool's grant, as if it were listed there.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from keystead.model.credentials import CREDENTIALS_PER_IDENTITY
from keystead.model.ids import IdentityId, VaultUrl, resource_key
from keystead.model.reasons import Reason
from keystead.model.records import Cluster, Grant
from keystead.plan import provisioning

_PROJECT = re.compile(r"^([a-z0-9][a-z0-9-]*:)?p-[a-z0-9]+\Z")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_DNS_SUBDOMAIN = re.compile(r"^(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_TAKES_VALUES = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that makes no sense."""

    path: str
    given: str
    allowed: str
    cure: str
    reason: Reason = Reason.GRANT_INVALID

    def __str__(self) -> str:
        return f"{self.path}: {self.given} {self.allowed}; {self.cure}"


@dataclass(frozen=True, slots=True)
class Member:
    """An identity of the pool, parsed."""

    identity: IdentityId
    reserved: int
    where: str = ""
    """The field that names it; empty when the operator made it."""

    @property
    def place(self) -> str:
        """What to call it to people who look for it."""
        return self.where or f"spec.provisioning ({self.identity.name})"


@dataclass(frozen=True, slots=True)
class Validated:
    """A grant that makes sense, parsed. Only :func:`check` makes one."""

    grant: Grant
    vault: VaultUrl
    pool: tuple[Member, ...]


def check(grant: Grant, others: Sequence[Grant], cluster: Cluster) -> Validated | tuple[Problem, ...]:
    """The parsed grant, or all its problems at once."""
    standing = sorted((each for each in others if not each.deleting), key=lambda each: each.name)
    problems = [*_namespace_problems(grant), *_pool_problems(grant, standing, cluster), *_other_problems(grant)]
    problems += [Problem(*fault) for fault in provisioning.faults(grant)]
    problems += _growth_problems(grant, standing, cluster)
    vault: VaultUrl | None = None
    try:
        vault = VaultUrl.parse(grant.vault_url)
    except ValueError as error:
        problems.append(
            Problem("spec.vault.url", repr(grant.vault_url), str(error), "copy the vault's URI from its Azure overview")
        )
    if problems or vault is None:
        return tuple(problems)
    pool = tuple(
        Member(IdentityId.parse(each.resource_id), each.reserved_slots, f"spec.identities[{index}].resourceId")
        for index, each in enumerate(grant.identities)
    )
    return Validated(grant, vault, pool)


def _namespace_problems(grant: Grant) -> Iterator[Problem]:
    rule = grant.namespaces
    if rule.selector is None and not rule.names and not rule.rancher_projects:
        cure = "give selector, names or rancherProjects (selector: {} is every namespace)"
        yield Problem("spec.namespaces", "no rule", "allows nothing", cure)
    for index, name in enumerate(rule.names):
        if not _DNS_LABEL.match(name):
            path = f"spec.namespaces.names[{index}]"
            yield Problem(path, repr(name), "is not a namespace's name", "patterns are not allowed; use selector")
    for index, project in enumerate(rule.rancher_projects):
        if not _PROJECT.match(project):
            path = f"spec.namespaces.rancherProjects[{index}]"
            yield Problem(path, repr(project), "is not a Rancher project's id", "give c-xxxxx:p-xxxxx or p-xxxxx")
    for index, requirement in enumerate(rule.selector.match_expressions if rule.selector else ()):
        path = f"spec.namespaces.selector.matchExpressions[{index}]"
        takes_values = _TAKES_VALUES.get(requirement.operator)
        if takes_values is None:
            cure = f"use one of {', '.join(_TAKES_VALUES)}"
            yield Problem(f"{path}.operator", repr(requirement.operator), "is not an operator", cure)
        elif takes_values != bool(requirement.values):
            allowed = f"does not go with operator {requirement.operator}"
            cure = "give values with In and NotIn, and only with them"
            yield Problem(f"{path}.values", repr(list(requirement.values)), allowed, cure)


def _pool_problems(grant: Grant, others: Sequence[Grant], cluster: Cluster) -> Iterator[Problem]:
    if not grant.identities and grant.provisioning is None:
        cure = "name at least one user-assigned identity, or let spec.provisioning make them"
        yield Problem("spec.identities", "no identity", "has no slot to give", cure)
    elsewhere: dict[str, str] = {}
    for other in others:
        for each in other.identities:
            elsewhere.setdefault(resource_key(each.resource_id), other.name)
    seen: dict[str, int] = {}
    for index, member in enumerate(grant.identities):
        path, given = f"spec.identities[{index}].resourceId", repr(member.resource_id)
        try:
            identity = IdentityId.parse(member.resource_id)
        except ValueError as error:
            yield Problem(path, given, str(error), "see `az identity show --query id`")
            continue
        key = identity.key
        if key in seen:
            yield Problem(path, given, f"stands at spec.identities[{seen[key]}] already", "name it once")
        seen.setdefault(key, index)
        if key in elsewhere:
            yield _shared(path, given, f"stands in VaultGrant {elsewhere[key]} too")
        elif maker := next((other.name for other in others if provisioning.makes(other, cluster, identity)), ""):
            yield _shared(path, given, f"goes by a name that the growing pool of VaultGrant {maker} gives")
        if not 0 <= member.reserved_slots <= CREDENTIALS_PER_IDENTITY:
            path = f"spec.identities[{index}].reservedSlots"
            cure = f"give a number from 0 to {CREDENTIALS_PER_IDENTITY}"
            yield Problem(path, str(member.reserved_slots), "is not a number of slots on an identity", cure)


def _growth_problems(grant: Grant, others: Iterable[Grant], cluster: Cluster) -> Iterator[Problem]:
    """Identities of the growing pool that other grants name, and this one does not."""
    mine = {resource_key(each.resource_id) for each in grant.identities}
    for other in others:
        for given in (each.resource_id for each in other.identities if resource_key(each.resource_id) not in mine):
            if not provisioning.may_make(grant, given):
                continue  # most are told apart without parsing them
            with contextlib.suppress(ValueError):  # no id at all: the other grant's own problem
                if provisioning.makes(grant, cluster, IdentityId.parse(given)):
                    allowed = f"goes by a name that this pool gives, and stands in VaultGrant {other.name} too"
                    yield _shared("spec.provisioning", repr(given), allowed)


def _shared(path: str, given: str, where: str) -> Problem:
    return Problem(path, given, where, "leave each identity in one grant only", Reason.IDENTITY_SHARED)


def _other_problems(grant: Grant) -> Iterator[Problem]:
    if grant.max_claims_per_namespace < 1:
        path = "spec.maxClaimsPerNamespace"
        yield Problem(path, str(grant.max_claims_per_namespace), "allows no claim", "give a number from 1")
    names = {
        "serviceAccountName": grant.template.service_account_name,
        "secretStoreName": grant.template.secret_store_name,
    }
    for field, name in names.items():
        if not _DNS_SUBDOMAIN.match(name):
            cure = "use lower-case letters, digits, '-' and '.'"
            yield Problem(f"spec.template.{field}", repr(name), "is not a Kubernetes name", cure)
