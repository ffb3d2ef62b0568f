"""Conditions on role assignments: what can be read, and what each shape allows."""

import pytest

from keystead_sandbox.conditions import holds, parse
from keystead_sandbox.roles import role_named

A = "Microsoft.Authorization/roleAssignments"
WRITE, DELETE = f"{A}/write", f"{A}/delete"
USER = "4633458b-17de-408a-b874-0445c86b69e6"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


def facts(source: str = "Request", **given: str) -> dict[str, str]:
    return {f"@{source}[{A}:{name}]".lower(): value for name, value in given.items()}


ROLE = f"@Request[{A}:RoleDefinitionId]"
TYPE = f"@Request[{A}:PrincipalType]"
WHO = f"@Request[{A}:PrincipalId]"
CASES = {
    "the role that is named": (f"{ROLE} ForAnyOfAnyValues:GuidEquals {{{USER}}}", {"RoleDefinitionId": USER}, True),
    "a GUID in another case": (f"{ROLE} GuidEquals {USER.upper()}", {"RoleDefinitionId": USER}, True),
    "another role": (f"{ROLE} ForAnyOfAnyValues:GuidEquals {{{USER}}}", {"RoleDefinitionId": OWNER}, False),
    "one role of two": (f"{ROLE} ForAnyOfAnyValues:GuidEquals{{{USER}, {OWNER}}}", {"RoleDefinitionId": OWNER}, True),
    "none of two": (f"{ROLE} ForAnyOfAllValues:GuidNotEquals {{{USER}, {OWNER}}}", {"RoleDefinitionId": OWNER}, False),
    "all but two": (f"{ROLE} ForAnyOfAllValues:GuidNotEquals {{{USER}, {OWNER}}}", {"RoleDefinitionId": ONE}, True),
    "a type in any case": (
        f"{TYPE} StringEqualsIgnoreCase 'serviceprincipal'",
        {"PrincipalType": "ServicePrincipal"},
        True,
    ),
    "a type in one case": (f"{TYPE} StringEquals 'serviceprincipal'", {"PrincipalType": "ServicePrincipal"}, False),
    "a text that begins so": (f"{TYPE} StringStartsWith 'Service'", {"PrincipalType": "ServicePrincipal"}, True),
    "a text that does not": (f"{TYPE} StringNotStartsWith 'Service'", {"PrincipalType": "User"}, True),
    "a pattern": (f"{TYPE} StringLike 'S*Principa?'", {"PrincipalType": "ServicePrincipal"}, True),
    "not a pattern": (f"{TYPE} StringNotLike 'S*'", {"PrincipalType": "ServicePrincipal"}, False),
    "a quoted brace": (f"{TYPE} StringEquals 'a}}\\'b'", {"PrincipalType": "a}'b"}, True),
    "both": (
        f"{TYPE} StringEquals 'User' AND {WHO} GuidEquals {ONE}",
        {"PrincipalType": "User", "PrincipalId": TWO},
        False,
    ),
    "either": (
        f"{TYPE} StringEquals 'User' OR {WHO} GuidEquals {ONE}",
        {"PrincipalType": "User", "PrincipalId": TWO},
        True,
    ),
    "AND binds closer than OR": (
        f"{TYPE} StringEquals 'User' || {TYPE} StringEquals 'x' && {WHO} GuidEquals {ONE}",
        {"PrincipalType": "User", "PrincipalId": TWO},
        True,
    ),
    "parentheses bind closest": (
        f"({TYPE} StringEquals 'User' || {TYPE} StringEquals 'x') && {WHO} GuidEquals {ONE}",
        {"PrincipalType": "User", "PrincipalId": TWO},
        False,
    ),
    "NOT": (f"NOT {TYPE} StringEquals 'User'", {"PrincipalType": "User"}, False),
    "! twice": (f"!(!({TYPE} StringEquals 'User'))", {"PrincipalType": "User"}, True),
    "an attribute that is not there": (f"{WHO} GuidEquals {ONE}", {}, False),
    "its negation neither": (f"{WHO} GuidNotEquals {ONE}", {}, False),
    "that it exists": (f"Exists {WHO}", {"PrincipalId": ONE}, True),
    "that it does not": (f"NOT Exists {WHO}", {}, True),
    "another source": (f"@Resource[{A}:PrincipalId] GuidEquals {ONE}", {"PrincipalId": ONE}, False),
    "names in any case": (f"@request[{A.upper()}:principalid] GuidEquals {ONE}", {"PrincipalId": ONE}, True),
    "another action": (f"ActionMatches{{'{DELETE}'}}", {}, False),
    "any of some actions": (f"ActionMatches {{'{DELETE}', 'Microsoft.Authorization/*/WRITE'}}", {}, True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_condition_holds_where_it_says(case: str) -> None:
    text, given, expected = CASES[case]

    assert holds(text, WRITE, facts(**given)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "(",
        f"{ROLE}",
        f"{ROLE} GuidEquals",
        f"{ROLE} GuidEquals {{}}",
        f"{ROLE} GuidEquals {{{USER}",
        f"{ROLE} GuidLike {USER}",
        f"{ROLE} NumericEquals 3",
        f"{ROLE} ForSomeValues:GuidEquals {USER}",
        f"{ROLE} GuidEquals {USER} {USER}",
        f"{ROLE} GuidEquals {USER} AND",
        f"{ROLE} GuidEquals @Request[x]",
        "@Nobody[x:y] StringEquals 'a'",
        "SubOperationMatches{'x'}",
        "'a' StringEquals 'a'",
        "ActionMatches",
        "!" * 100 + f"Exists {ROLE}",
        "(" * 5000,
        f"{TYPE} StringEquals 'open",
        f"{TYPE} StringEquals '" + "x" * 8200 + "'",
        "\0",
        "\uff45xists",
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


@pytest.mark.parametrize(
    ("action", "given", "allowed"),
    [
        (WRITE, facts(RoleDefinitionId=USER), True),
        (WRITE, facts(RoleDefinitionId=OWNER), False),
        (WRITE, {}, False),
        (WRITE, facts("Resource", RoleDefinitionId=USER), False),
        (DELETE, facts("Resource", RoleDefinitionId=USER), True),
        (DELETE, facts("Resource", RoleDefinitionId=OWNER), False),
        (DELETE, facts("Request", RoleDefinitionId=USER), False),
        ("Microsoft.Authorization/roleAssignments/read", {}, True),
        ("Microsoft.KeyVault/vaults/read", {}, False),
    ],
)
def test_the_data_access_administrator_hands_out_vault_roles_alone(
    action: str, given: dict[str, str], allowed: bool
) -> None:
    role = role_named("Key Vault Data Access Administrator")

    assert role is not None
    assert role.allows(action, data=False, attributes=given) is allowed
