"""Pure: which namespaces a grant allows, and why. Empty is never permission.

Rancher writes ``field.cattle.io/projectId`` as an annotation ``CLUSTER:PROJECT`` and as a label ``PROJECT``. The
annotation counts; a label that names another project is a refusal, since somebody changed one of the two by hand. It
refuses only where a project decides: a grant without Rancher projects does not look at either.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import LabelSelector, Namespace, NamespaceRule, SelectorRequirement

RANCHER_PROJECT = "field.cattle.io/projectId"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed or not, with the reason and a sentence."""

    allowed: bool
    reason: Reason
    message: str


_NAMED = Verdict(allowed=True, reason=Reason.ACCEPTED, message="The grant names this namespace.")
_IN_PROJECT = Verdict(
    allowed=True, reason=Reason.ACCEPTED, message="The namespace is in a Rancher project of the grant."
)
_SELECTED = Verdict(allowed=True, reason=Reason.ACCEPTED, message="The grant's selector matches the namespace.")
_NOT_ALLOWED = Verdict(allowed=False, reason=Reason.NOT_ALLOWED, message=CATALOGUE[Reason.NOT_ALLOWED].tenant)


def judge(rule: NamespaceRule, namespace: Namespace) -> Verdict:
    """Any one of selector, names and Rancher projects suffices."""
    if rule.rancher_projects and _project_disagrees(namespace):
        label, annotation = namespace.labels[RANCHER_PROJECT], namespace.annotations[RANCHER_PROJECT]
        return Verdict(
            allowed=False,
            reason=Reason.RANCHER_PROJECT_DISAGREES,
            message=f"label {RANCHER_PROJECT} is {label!r}, the annotation {annotation!r}; correct the label.",
        )
    if namespace.name in rule.names:
        return _NAMED
    if _in_project(rule.rancher_projects, namespace):
        return _IN_PROJECT
    if rule.selector is not None and matches(rule.selector, namespace.labels):
        return _SELECTED
    return _NOT_ALLOWED


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """As Kubernetes evaluates a label selector."""
    for key, value in selector.match_labels.items():  # a loop, since it is asked of ten thousand namespaces
        if labels.get(key) != value:
            return False
    return all(_meets(requirement, labels) for requirement in selector.match_expressions)


def _meets(requirement: SelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False  # an operator we do not know grants nothing


def _in_project(projects: tuple[str, ...], namespace: Namespace) -> bool:
    annotation = namespace.annotations.get(RANCHER_PROJECT, "")
    if not annotation:
        return False
    return any(wanted in (annotation, annotation.rpartition(":")[2]) for wanted in projects)


def _project_disagrees(namespace: Namespace) -> bool:
    label, annotation = namespace.labels.get(RANCHER_PROJECT), namespace.annotations.get(RANCHER_PROJECT)
    return label is not None and annotation is not None and label != annotation.rpartition(":")[2]
