"""Refusals of Microsoft.Authorization: role assignments, role definitions, locks, policies.

Codes and texts are those of the documentation ("Troubleshoot Azure RBAC", "Troubleshoot Azure RBAC limits") and of
answers in public issues; docs/fidelity.md marks those whose text is not known.
"""

from keystead_sandbox.arm.errors import Refusal


def no_assignment(name: str) -> Refusal:
    """404: the role assignment."""
    return Refusal(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")


def assignment_exists(name: str) -> Refusal:
    """409: this principal has this role at this scope, under whatever name."""
    text = f"The role assignment already exists. The ID of the existing role assignment is {name.replace('-', '')}."
    return Refusal(409, "RoleAssignmentExists", text)


def assignment_fixed() -> Refusal:
    """400: another principal, role or scope under a name that is taken."""
    text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
    return Refusal(400, "RoleAssignmentUpdateNotPermitted", text)


def too_many_assignments() -> Refusal:
    """400: the subscription holds as many as it may."""
    return Refusal(400, "RoleAssignmentLimitExceeded", "No more role assignments can be created.")


def bad_assignment_name(name: str) -> Refusal:
    """400: an assignment's name is a GUID."""
    text = f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."
    return Refusal(400, "InvalidRoleAssignmentId", text)


def bad_format(problem: str = "") -> Refusal:
    """400: a body that the provider cannot use."""
    return Refusal(400, "BadRequestFormat", f"The request was incorrectly formatted. {problem}".strip())


def bad_principal() -> Refusal:
    """400: the principal's id is no GUID."""
    return Refusal(400, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")


def other_principal_type(principal: str, found: str, given: str) -> Refusal:
    """400: the principal is of another type; "PrinciaplType" is Azure's own spelling."""
    text = f"The PrincipalId '{principal.replace('-', '')}' has type '{found}' , which is different from specified "
    return Refusal(400, "UnmatchedPrincipalType", f"{text}PrinciaplType '{given}'.")


def no_principal(principal: str, tenant: str) -> Refusal:
    """400: the directory does not show this principal, or not yet."""
    return Refusal(
        400,
        "PrincipalNotFound",
        f"Principal {principal.replace('-', '')} does not exist in the directory {tenant}. Check that you have the "
        "correct principal ID. If you are creating this principal and then immediately assigning a role, this error "
        "might be related to a replication delay. In this case, set the role assignment principalType property to a "
        "value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
    )


def bad_condition(problem: str) -> Refusal:
    """400: a condition that cannot be read. The real text is not known."""
    return Refusal(400, "InvalidRoleAssignmentCondition", f"The condition is not valid: {problem}.")


def no_role(name: str) -> Refusal:
    """404: the role definition."""
    text = f"The specified role definition with ID '{name.replace('-', '')}' does not exist."
    return Refusal(404, "RoleDefinitionDoesNotExist", text)


def bad_role(problem: str) -> Refusal:
    """400: a role definition that makes no sense. The real texts are not known."""
    return Refusal(400, "InvalidRoleDefinition", problem)


def role_name_taken() -> Refusal:
    """409: two roles of one directory cannot have one name."""
    text = "A custom role with the same name already exists in this directory. Use a different name."
    return Refusal(409, "RoleDefinitionWithSameNameExists", text)


def built_in_role() -> Refusal:
    """403: built-in roles stay as they are. The real code is not known."""
    return Refusal(403, "BuiltInRoleCannotBeChanged", "Built-in roles cannot be changed or deleted.")


def role_in_use() -> Refusal:
    """409: a role is deleted after its assignments."""
    return Refusal(409, "RoleDefinitionHasAssignments", "There are existing role assignments referencing role.")


def bad_lock(problem: str) -> Refusal:
    """400: a lock that makes no sense."""
    return Refusal(400, "InvalidLock", problem)


def no_lock(name: str) -> Refusal:
    """404: the lock."""
    return Refusal(404, "LockNotFound", f"The lock '{name}' could not be found.")


def bad_policy(problem: str) -> Refusal:
    """400: a policy that makes no sense, or goes beyond what the sandbox evaluates."""
    return Refusal(400, "InvalidPolicyRule", f"Failed to parse policy rule: '{problem}'.")


def no_policy(name: str) -> Refusal:
    """404: the policy assignment."""
    return Refusal(404, "PolicyAssignmentNotFound", f"The policy assignment '{name}' is not found.")


def no_policy_definition(name: str) -> Refusal:
    """404: the policy definition."""
    return Refusal(404, "PolicyDefinitionNotFound", f"The policy definition '{name}' could not be found.")


def policy_in_use(name: str) -> Refusal:
    """409: a definition is deleted after its assignments. The real text is not known."""
    return Refusal(409, "PolicyDefinitionInUse", f"The policy definition '{name}' has assignments.")
