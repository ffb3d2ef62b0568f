"""``keystead crds``: the custom resource definitions."""

import sys


def crds() -> None:
    """Print the custom resource definitions as YAML: ``keystead crds | kubectl apply --server-side -f -``."""
    from keystead.kube.crd import crd_yaml  # noqa: PLC0415 - the other commands need none of it

    sys.stdout.write(crd_yaml())
