"""Pure: which credentials that others made may be taken over, and whether an admin has said so.

Rules:
- Never without the admin's word: the annotation ``keystead.dev/adopt`` of the grant, which tenants cannot write.
- Only what trusts exactly this cluster's issuer, the claim's account and the exchange audience, on an identity of the
  pool, and only where no second identity holds the same: a revocation has to take the trust away, not one half of it.
- A word that makes no sense names nothing, and harms none of those beside it.
- ``*`` does not reach what carries the name of another Keystead: after a backup was restored under the same issuer, two
  clusters would own one credential. Whoever names the namespace has seen it.
- Taking over changes nothing in Azure: the credential stays as it is, under its own name.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential, IdentityState
from keystead.model.ids import IdentityId
from keystead.plan import naming
from keystead.plan.holdings import Holdings
from keystead.plan.pool import usable
from keystead.plan.snapshot import Snapshot
from keystead.plan.validation import Validated

EVERYTHING = "*"
ANNOTATION = "metadata.annotations[keystead.dev/adopt]"
_ENTRY = re.compile(
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
    r"(/(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"
)
_TOLD = 3  # problems that are told by name; the rest is counted
_LONGEST = 60  # characters of somebody's text in a message


@dataclass(frozen=True, slots=True)
class Word:
    """What the admin allows to take over, parsed."""

    everything: bool = False
    named: frozenset[str] = frozenset()
    """``NAMESPACE`` or ``NAMESPACE/SERVICEACCOUNT``."""
    problem: str = ""
    """What of it makes no sense, with the field, what was given and what is allowed; empty when all does."""

    def names(self, namespace: str, account: str) -> bool:
        """The namespace, or its account, is written there by name."""
        return namespace in self.named or f"{namespace}/{account}" in self.named

    def covers(self, namespace: str, account: str) -> bool:
        """By name, or as everything."""
        return self.everything or self.names(namespace, account)


def read_word(text: str) -> Word:
    """The annotation's value: ``*``, or namespaces and accounts with commas or white space between."""
    entries = [each for each in re.split(r"[,\s]+", text) if each]
    wrong = [each for each in entries if each != EVERYTHING and not _ENTRY.match(each)]
    named = frozenset(each for each in entries if _ENTRY.match(each))
    return Word(EVERYTHING in entries, named, _problem(wrong))


def _problem(wrong: list[str]) -> str:
    if not wrong:
        return ""
    told = ", ".join(repr(each[:_LONGEST]) for each in wrong[:_TOLD])
    more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
    return f"{ANNOTATION}: {told}{more} is neither NAMESPACE nor NAMESPACE/SERVICEACCOUNT nor *; correct or remove it"


@dataclass(frozen=True, slots=True)
class Finding:
    """A credential that others made for an account of ours, and why it cannot be taken over, if so."""

    identity: IdentityId
    credential: Credential
    obstacle: str = ""
    """A clause: what is in the way, and what to change."""
    needs_name: bool = False
    """``*`` does not reach it."""

    def covered_by(self, word: Word, namespace: str, account: str) -> bool:
        """Whether the admin has said so."""
        return word.names(namespace, account) if self.needs_name else word.covers(namespace, account)


class Adoptions:
    """Answers by subject, for one grant."""

    def __init__(self, snapshot: Snapshot, valid: Validated, holdings: Holdings) -> None:
        self._snapshot = snapshot
        self._holdings = holdings
        self._members = {member.identity for member in valid.pool}
        self.word = read_word(valid.grant.adopt)

    def of(self, subject: str, on: IdentityId | None = None) -> Finding | None:
        """What others hold for exactly this account under this cluster's issuer; ``None``: nothing.

        With *on*, only what stands on that identity. Where several identities hold it, that is the obstacle.
        """
        held = self._holdings.unledgered(subject)
        if on is not None:
            held = sorted(held, key=lambda each: each[0] != on)  # stable
        if not held or (on is not None and held[0][0] != on):
            return None
        identity, credential = held[0]
        obstacle = self._obstacle(held)
        cluster, name = self._snapshot.cluster, credential.name
        another = naming.is_keysteads(name) and not naming.is_ours(name, cluster)
        return Finding(identity, credential, obstacle, another)

    def _obstacle(self, held: Collection[tuple[IdentityId, Credential]]) -> str:
        (identity, credential), *others = held
        state = self._snapshot.identities.get(identity) or IdentityState(identity)
        if others:
            places = ", ".join(f"{each.name} on {where.name}" for where, each in others)
            return f"the same account is trusted by {places} too; delete all but one of them in Azure"
        if credential.audience != EXCHANGE_AUDIENCE:
            return f"its audience is {credential.audience!r}, not {EXCHANGE_AUDIENCE!r}; delete it in Azure"
        if identity not in self._members:
            return f"identity {identity.name} is not in the grant's pool; add it to spec.identities"
        if not usable(state):
            return f"identity {identity.name} cannot be used now"
        return ""


def extended(text: str, entries: Iterable[str]) -> str:
    """The word *text*, with *entries* as well; what others have said stays as it is."""
    said = [each for each in re.split(r"[,\s]+", text) if each]
    return ",".join(dict.fromkeys([*said, *entries]))


def taken_text(grant: str, namespace: str, subject: str, finding: Finding) -> str:
    """For the claim that has to wait: who holds its trust, and the two ways out."""
    told = f"Credential {finding.credential.name} on identity {finding.identity.name} already trusts {subject}"
    if finding.obstacle:
        return f"{told}, and cannot be adopted: {finding.obstacle}."
    return f"{told}. Take it over with `{command(grant, namespace)}`, or delete it in Azure."


def command(grant: str, namespace: str) -> str:
    """The command that says the word."""
    return f"keystead adopt {grant} {namespace}"
