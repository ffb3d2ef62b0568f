"""Pure: what a step does, in a few words, for people who read a plan.

A new step does not type-check until it has its words here.
"""

from typing import assert_never

from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    AssignRole,
    BeginRevocation,
    CreateClaim,
    CreateIdentity,
    DeleteClaim,
    DeleteCredential,
    EnsureServiceAccount,
    ForgetFederation,
    NudgeExternalSecrets,
    NudgeStore,
    RecordFederation,
    Step,
    SweepCredential,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)


def say(step: Step) -> str:
    """What it does, to what."""
    match step:
        case CreateClaim() | DeleteClaim():
            return _about_claim(step)
        case WriteCredential() | DeleteCredential() | SweepCredential():
            return _about_credential(step)
        case RecordFederation() | BeginRevocation() | ForgetFederation():
            return _about_ledger(step)
        case CreateIdentity() | AssignRole():
            return _about_pool(step)
        case EnsureServiceAccount():
            return f"make ServiceAccount {step.name}, without annotations"
        case AnnotateServiceAccount():
            return f"point ServiceAccount {step.name} at client {step.client_id}"
        case WithdrawAnnotation():
            return f"take our annotations off ServiceAccount {step.name}"
        case Verify():
            return f"exchange tokens of {step.service_account_name}, look at {step.vault_url}"
        case ApplyStore():
            return f"apply SecretStore {step.name} for {step.vault_url}"
        case NudgeStore():
            return f"touch SecretStore {step.name}, so that its engine looks again"
        case NudgeExternalSecrets():
            return f"touch failing ExternalSecrets of SecretStore {step.store_name}"
    assert_never(step)


def _about_pool(step: CreateIdentity | AssignRole) -> str:
    match step:
        case CreateIdentity():
            return f"make identity {step.identity.name} in {step.location}, for the pool"
        case AssignRole():
            return f"give identity {step.identity.name} its role on {step.vault}"


def _about_claim(step: CreateClaim | DeleteClaim) -> str:
    match step:
        case CreateClaim():
            return f"make VaultClaim {step.name}"
        case DeleteClaim():
            return f"delete VaultClaim {step.name}: its namespace is not allowed any more"


def _about_credential(step: WriteCredential | DeleteCredential | SweepCredential) -> str:
    name, identity = step.credential.name, step.identity.name
    match step:
        case WriteCredential():
            return f"write {_named(name, step.federation_name)} on identity {identity}"
        case DeleteCredential():
            return f"delete {_named(name, step.federation_name)} on identity {identity}"
        case SweepCredential():
            return f"delete orphan credential {name} on identity {identity}"


def _named(credential: str, federation: str) -> str:
    """A name of 70 characters once is enough."""
    return "its credential" if credential == federation else f"credential {credential}"


def _about_ledger(step: RecordFederation | BeginRevocation | ForgetFederation) -> str:
    match step:
        case RecordFederation():
            adopted = ", adopted as it is" if step.federation.adopted else ""
            return f"record Federation {step.federation.name} on identity {step.federation.identity.name}{adopted}"
        case BeginRevocation():
            return f"begin to revoke ({step.cause}) Federation {step.federation_name}"
        case ForgetFederation():
            return f"drop Federation {step.federation_name}, once Azure is clean"
