"""Pure: the last words, for people: what came true, how fast, how close to the best possible, and what to try next."""

import shlex
from collections.abc import Mapping
from typing import Any

_MEBI = 1024 * 1024


def lines(report: Mapping[str, Any], *, pool: str) -> list[str]:
    """The summary, one line each."""
    namespaces, secrets, revoked = report["namespaces"], report["secrets"], report["revoked"]
    seconds, schedule, operator = report["seconds"], report["schedule"], report["operator"]
    over = (schedule["ratio"] - 1) * 100
    first = "none" if seconds["firstSecret"] is None else f"{seconds['firstSecret']:.1f} s"
    total = f"everything after {seconds['total']:.1f} s (clock x{report['clockRate']:g}; set-up not counted)"
    left = f"{namespaces['awaitingReview']} awaiting review, {namespaces['blocked']} blocked"
    gone = f"{revoked['gone']} of {revoked['expected']} revoked with its namespace"
    best = f"best possible {schedule['optimum']:.1f} s ({over:+.1f} %)"
    return [
        f"{namespaces['expected']} namespaces: {namespaces['ready']} ready, {left}",
        f"{secrets['correct']} of {secrets['expected']} Secrets hold what the vaults hold",
        f"{report['credentials']} credentials on {report['identities']} identities; {gone}",
        f"first Secret after {first}, {total}",
        f"schedule of pool {pool}: {schedule['measured']:.1f} s of Azure's time, {best}",
        f"operator: {operator['peakRssBytes'] / _MEBI:.0f} MiB at its peak, {operator['cpuSeconds']:.1f} s of CPU",
    ]


def next_commands(
    *, kubectl: str, keystead: str, kubeconfig: str, waiting: str, blocked: str, context: str = ""
) -> list[tuple[str, str]]:
    """Three commands to try, each with what it shows; they work as printed."""
    option = f" --context {shlex.quote(context)}" if context else ""
    kubeconfig, kubectl = shlex.quote(kubeconfig), kubectl + option
    return [
        (f"KUBECONFIG={kubeconfig} {kubectl} get vg,vc,fed -A", "the whole story in one table"),
        (
            f"KUBECONFIG={kubeconfig} {keystead} approve {waiting}{option} --message 'looks right'",
            "let the last one in",
        ),
        (f"KUBECONFIG={kubeconfig} {kubectl} describe vc -n {blocked}", "why one is blocked, and the cure"),
    ]
