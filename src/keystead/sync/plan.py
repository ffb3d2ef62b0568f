"""Pure: what to do with the Secret, and what to say about it.

Rules (facts: ESO's reconciler, in its words where people see them):
- Owner and Orphan own all data of the Secret; Merge and CreateOrMerge own the keys that our field manager wrote.
- A Secret of another controller is never written, under no policy.
- Labels and annotations of the ExternalSecret are copied; what others put on the Secret stays.
- Equal is equal: nothing is written, and no Event is emitted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from keystead.sync.hashing import created_by, data_hash
from keystead.sync.objects import API_VERSION, ExternalSecret
from keystead.sync.reading import Assembled
from keystead.sync.refresh import CREATED_BY_LABEL, DATA_HASH_ANNOTATION, MANAGED_LABEL
from keystead.sync.snapshot import LiveSecret, Owner, SecretBytes, SecretMark, SecretShape

SYNCED, DELETED, MISSING, FAILED, UNSUPPORTED = (
    "SecretSynced",
    "SecretDeleted",
    "SecretMissing",
    "SecretSyncedError",
    "Unsupported",
)
PROVIDER_FAILED = "could not get secret data from provider"
UPDATE_FAILED = "could not update secret"
_KIND = "ExternalSecret"


@dataclass(frozen=True, slots=True)
class CreateSecret:
    """POST."""

    shape: SecretShape


@dataclass(frozen=True, slots=True)
class ReplaceSecret:
    """PUT over exactly this version."""

    shape: SecretShape
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class DeleteSecret:
    """DELETE exactly this object."""

    namespace: str
    name: str
    uid: str
    why: str


Step: TypeAlias = CreateSecret | ReplaceSecret | DeleteSecret


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the Ready condition says after the steps."""

    ready: bool
    reason: str
    message: str
    bound: bool = False
    """``status.binding`` names the Secret."""
    failure: str = ""
    """Text of the Warning Event, when there is one."""
    retry: bool = False
    """Tried again by itself; else only when something changes, or at the next refresh."""


@dataclass(frozen=True, slots=True)
class SecretPlan:
    """Steps in order, then the verdict."""

    steps: tuple[Step, ...]
    verdict: Verdict


def failed(message: str, failure: str, *, retry: bool) -> Verdict:
    """Pure: a failure, as the condition and the Event tell it."""
    return Verdict(ready=False, reason=FAILED, message=message, failure=failure, retry=retry)


def make_plan(
    es: ExternalSecret, live: LiveSecret | None, assembled: Assembled, ours: Iterable[SecretMark]
) -> SecretPlan:
    """Pure: *ours* are the Secrets that carry this ExternalSecret's ``created-by``, the target among them."""
    target = es.spec.target
    if not assembled.data and target.deletion_policy != "Merge":
        return _without_data(es, live)
    if target.creation_policy == "None":
        return SecretPlan((), Verdict(ready=True, reason=SYNCED, message="secret synced"))
    if target.creation_policy == "Merge" and live is None:
        message = "secret will not be created due to CreationPolicy=Merge"
        return SecretPlan((), Verdict(ready=True, reason=MISSING, message=message))
    refusal = _not_ours(es, live)
    if refusal is not None:
        return SecretPlan((), refusal)
    steps: list[Step] = []
    if target.creation_policy == "Owner":
        why = "secret deleted because it was orphaned"
        orphans = sorted((each for each in ours if each.name != es.target_name), key=lambda each: each.name)
        steps += [DeleteSecret(each.namespace, each.name, each.uid, why) for each in orphans]
    synced = Verdict(ready=True, reason=SYNCED, message="secret synced", bound=True)
    if live is None:
        return SecretPlan((*steps, CreateSecret(desired(es, None, assembled.data))), synced)
    wanted = desired(es, live, assembled.data)
    if live.shape.immutable and not target.immutable and _differs(es, live, assembled.data):
        message = "could not update secret, target is immutable"
        failure = f"unable to update secret {es.target_name}: secret is immutable"
        return SecretPlan(tuple(steps), failed(message, failure, retry=False))
    if wanted != live.shape:
        steps.append(ReplaceSecret(wanted, live.uid, live.resource_version))
    return SecretPlan(tuple(steps), synced)


def desired(es: ExternalSecret, live: LiveSecret | None, data: Mapping[str, SecretBytes]) -> SecretShape:
    """Pure: the Secret as it should be; *live* must not be another controller's."""
    target = es.spec.target
    before = live.shape if live is not None else SecretShape(es.namespace, es.target_name)
    frozen = live is not None and (before.immutable or target.immutable)
    wanted = before.data if frozen else _merged_data(es, live, data)
    labels = _without(before.labels, live.ours.labels if live else frozenset()) | es.metadata.labels
    annotations = _without(before.annotations, live.ours.annotations if live else frozenset()) | es.metadata.annotations
    labels[MANAGED_LABEL] = "true"
    annotations[DATA_HASH_ANNOTATION] = data_hash(wanted)
    labels.pop(CREATED_BY_LABEL, None)
    owners = tuple(owner for owner in before.owners if owner.uid != es.metadata.uid)
    if target.creation_policy == "Owner":
        labels[CREATED_BY_LABEL] = created_by(es.namespace, es.name)
        us = Owner(API_VERSION, _KIND, es.name, es.metadata.uid, controller=True, block_owner_deletion=True)
        owners = before.owners if us in before.owners else (*owners, us)
    return replace(
        before,
        labels=labels,
        annotations=annotations,
        owners=owners,
        data=wanted,
        immutable=before.immutable or target.immutable,
    )


def _without_data(es: ExternalSecret, live: LiveSecret | None) -> SecretPlan:
    """The provider has nothing for us."""
    if es.spec.target.deletion_policy == "Retain":
        message = "secret retained due to DeletionPolicy=Retain"
        return SecretPlan((), Verdict(ready=True, reason=SYNCED, message=message, bound=live is not None))
    policy = es.spec.target.creation_policy
    if policy != "Owner":
        failure = f"unable to delete secret {es.target_name}: creationPolicy={policy} is not Owner"
        return SecretPlan((), failed("could not delete secret", failure, retry=False))
    refusal = _not_ours(es, live)
    if refusal is not None:
        return SecretPlan((), refusal)
    message = "secret deleted due to DeletionPolicy=Delete"
    verdict = Verdict(ready=True, reason=DELETED, message=message)
    if live is None:
        return SecretPlan((), verdict)
    if all(owner.uid != es.metadata.uid for owner in live.shape.owners):
        # ESO deletes whatever stands there; what is not provably ours is not deleted here.
        failure = f"unable to delete secret {es.target_name}: it was not made by this ExternalSecret"
        return SecretPlan((), failed("could not delete secret", failure, retry=False))
    return SecretPlan((DeleteSecret(es.namespace, es.target_name, live.uid, message),), verdict)


def _not_ours(es: ExternalSecret, live: LiveSecret | None) -> Verdict | None:
    """Somebody else controls the Secret."""
    controller = next((owner for owner in live.shape.owners if owner.controller), None) if live else None
    if controller is None or controller.uid == es.metadata.uid:
        return None
    group = controller.api_version.partition("/")[0]
    if controller.kind == _KIND and group == API_VERSION.partition("/")[0]:
        failure = f"secret is owned by another ExternalSecret: {controller.name}"
        return failed("target is owned by another ExternalSecret", failure, retry=False)
    if es.spec.target.creation_policy != "Owner":
        return None
    failure = (
        f"could not take ownership of secret {es.target_name}: it is controlled by {controller.kind} {controller.name}"
    )
    return failed("failed to take ownership of target secret", failure, retry=False)


def _merged_data(
    es: ExternalSecret, live: LiveSecret | None, data: Mapping[str, SecretBytes]
) -> Mapping[str, SecretBytes]:
    if live is None or es.spec.target.creation_policy not in ("Merge", "CreateOrMerge"):
        return dict(data)
    kept = {key: value for key, value in live.shape.data.items() if key not in live.ours.data}
    return kept | dict(data)


def _differs(es: ExternalSecret, live: LiveSecret, data: Mapping[str, SecretBytes]) -> bool:
    return _merged_data(es, live, data) != live.shape.data


def _without(values: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in names}
