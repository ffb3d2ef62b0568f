"""Azure's regions, as ``GET /subscriptions/{id}/locations`` lists them; names of the public and the sovereign clouds.

``West Europe`` and ``westeurope`` are one region, answered in the latter form.
"""

from collections.abc import Mapping

from keystead_sandbox.arm import errors

_PUBLIC = (
    *("eastus", "eastus2", "eastus2euap", "westus", "westus2", "westus3", "centralus", "centraluseuap"),
    *("northcentralus", "southcentralus", "westcentralus", "canadacentral", "canadaeast", "mexicocentral"),
    *("brazilsouth", "brazilsoutheast", "chilecentral", "northeurope", "westeurope", "uksouth", "ukwest"),
    *("francecentral", "francesouth", "germanywestcentral", "germanynorth", "switzerlandnorth", "switzerlandwest"),
    *("norwayeast", "norwaywest", "swedencentral", "swedensouth", "polandcentral", "italynorth", "spaincentral"),
    *("austriaeast", "belgiumcentral", "denmarkeast", "israelcentral", "qatarcentral", "uaenorth", "uaecentral"),
    *("southafricanorth", "southafricawest", "centralindia", "southindia", "westindia", "jioindiawest"),
    *("jioindiacentral", "southeastasia", "eastasia", "malaysiawest", "malaysiasouth", "indonesiacentral"),
    *("japaneast", "japanwest", "koreacentral", "koreasouth", "australiaeast", "australiasoutheast"),
    *("australiacentral", "australiacentral2", "newzealandnorth"),
)
_SOVEREIGN = (
    *("chinaeast", "chinaeast2", "chinaeast3", "chinanorth", "chinanorth2", "chinanorth3"),
    *("usgovvirginia", "usgovarizona", "usgovtexas", "usdodeast", "usdodcentral"),
)
REGIONS = (*_PUBLIC, *_SOVEREIGN)
_KNOWN = frozenset(REGIONS)


def region(body: Mapping[str, object], kind: str) -> str:
    """Where a resource of this body is to be. Refusal when that is nowhere."""
    location = body.get("location")
    if not isinstance(location, str) or not location.strip():
        raise errors.no_location()
    plain = normal(location)
    if plain not in _KNOWN:
        raise errors.unknown_location(location, kind, REGIONS)
    return plain


def normal(location: str) -> str:
    """The form that Azure answers."""
    return location.replace(" ", "").lower()
