"""What the built-in kinds look like: schemas in our own words, for validation, ``kubectl explain`` and pruning.

Fields are those of the Kubernetes API reference, v1.36, of the kinds that are served here. They say which fields exist
and of which type they are; the rules between fields are in :mod:`keystead_sandbox.kube.rules`.
"""

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]


def _of(type_: str, text: str, **more: Any) -> Schema:
    return {"type": type_, **({"description": text} if text else {}), **more}


def _string(text: str = "") -> Schema:
    return _of("string", text)


def _integer(text: str = "") -> Schema:
    return _of("integer", text)


def _boolean(text: str = "") -> Schema:
    return _of("boolean", text)


def _map(text: str = "") -> Schema:
    return _of("object", text, additionalProperties={"type": "string"})


def _list(items: Schema, text: str = "") -> Schema:
    return _of("array", text, items=items)


def _object(text: str = "", required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return _of("object", text, properties=properties, **({"required": list(required)} if required else {}))


def _any(text: str = "") -> Schema:
    return _of("object", text, **{"x-kubernetes-preserve-unknown-fields": True})


_OWNER = _object(
    "An object that this one goes with.",
    ("apiVersion", "kind", "name", "uid"),
    apiVersion=_string("API version of the owner."),
    kind=_string("Kind of the owner."),
    name=_string("Name of the owner."),
    uid=_string("UID of the owner."),
    controller=_boolean("Whether the owner is the managing controller."),
    blockOwnerDeletion=_boolean("Whether a foreground deletion of the owner waits for this object."),
)
METADATA = _object(
    "Standard object metadata.",
    name=_string("Unique among its kind and namespace; never changes."),
    generateName=_string("Prefix of a name that the server completes."),
    namespace=_string("The space that the name is unique in."),
    selfLink=_string("No longer set."),
    uid=_string("Unique in time and space; set by the server."),
    resourceVersion=_string("Changes with each write; for optimistic concurrency and watches."),
    generation=_integer("Counts changes of the desired state."),
    creationTimestamp=_of("string", "When it was created; set by the server.", format="date-time", nullable=True),
    deletionTimestamp=_of("string", "When deletion was asked for.", format="date-time", nullable=True),
    deletionGracePeriodSeconds=_integer("Seconds that deletion may take."),
    labels=_map("Keys and values to select by."),
    annotations=_map("Keys and values that nobody selects by."),
    ownerReferences=_list(_OWNER, "Objects that this one depends on."),
    finalizers=_list(_string(), "What must be done before the object goes."),
    managedFields=_list(_any(), "Who set which fields."),
)
_REFERENCE = _object(
    "An object.",
    apiVersion=_string("API version."),
    kind=_string("Kind."),
    name=_string("Name."),
    namespace=_string("Namespace."),
    uid=_string("UID."),
    resourceVersion=_string("Version that was meant."),
    fieldPath=_string("The part of the object that was meant."),
)
_CONDITION = _object(
    "An observation.",
    type=_string("What is observed."),
    status=_string("True, False or Unknown."),
    reason=_string("Why, in one word."),
    message=_string("Why, for people."),
    lastTransitionTime=_of("string", "When the status changed.", format="date-time"),
    observedGeneration=_integer("The generation that was looked at."),
)


def _kind(text: str, **properties: Schema) -> Schema:
    head = {
        "apiVersion": _string("Version of this representation."),
        "kind": _string("What this object is."),
        "metadata": METADATA,
    }
    return _of("object", text, properties=head | properties)


_EVENT = {
    "reason": _string("Why, in one word."),
    "type": _string("Normal or Warning."),
    "eventTime": _of("string", "When it was first observed.", format="date-time", nullable=True),
    "action": _string("What was done about the object."),
    "reportingInstance": _string("Which instance of the controller reports."),
    "related": _REFERENCE,
    "series": _object(
        "Repetitions.",
        count=_integer("How often so far."),
        lastObservedTime=_of("string", "When last.", format="date-time"),
    ),
}
_SOURCE = _object("Who reports.", component=_string("Component."), host=_string("Node."))
_RULE = _object(
    "What may be done with what.",
    verbs=_list(_string(), "Verbs, or *."),
    apiGroups=_list(_string(), "Groups; the empty one is the core."),
    resources=_list(_string(), "Resources, or *."),
    resourceNames=_list(_string(), "Names; all when empty."),
    nonResourceURLs=_list(_string(), "Paths that are no resources."),
)
_ROLE_REFERENCE = _object(
    "The role that is granted; it cannot change.",
    apiGroup=_string("Group of the role."),
    kind=_string("Role or ClusterRole."),
    name=_string("Name of the role."),
)
_SUBJECT = _object(
    "Who is granted it.",
    kind=_string("User, Group or ServiceAccount."),
    apiGroup=_string("Group of the subject's kind."),
    name=_string("Name of the subject."),
    namespace=_string("Namespace of a ServiceAccount."),
)
_TIME = _of("string", "Seconds and microseconds of an instant.", format="date-time")
_SECRET_NAMES = _list(_object("", name=_string("Name of the Secret.")), "Secrets for pulling images.")

SCHEMAS: dict[str, Schema] = {
    "Namespace": _kind(
        "A scope for names.",
        spec=_object("What is wanted.", finalizers=_list(_string(), "What must be done before the namespace goes.")),
        status=_object(
            "What is.",
            phase=_string("Active or Terminating."),
            conditions=_list(_CONDITION, "What holds the namespace."),
        ),
    ),
    "ServiceAccount": _kind(
        "An identity for processes in Pods.",
        secrets=_list(_REFERENCE, "Secrets that Pods of this account may use."),
        imagePullSecrets=_SECRET_NAMES,
        automountServiceAccountToken=_boolean("Whether Pods get a token by themselves."),
    ),
    "Secret": _kind(
        "Data that is not for everybody's eyes.",
        data=_map("Values in base64."),
        stringData=_map("Values as plain text; write-only."),
        type=_string("What the data is for."),
        immutable=_boolean("Whether the data may no longer change."),
    ),
    "ConfigMap": _kind(
        "Configuration data.",
        data=_map("Text by key."),
        binaryData=_map("Bytes by key, in base64."),
        immutable=_boolean("Whether the data may no longer change."),
    ),
    "Event": _kind(
        "A report of something that happened.",
        involvedObject={**_REFERENCE, "description": "What it happened to."},
        message=_string("What happened, for people."),
        reportingComponent=_string("Which controller reports."),
        source=_SOURCE,
        count=_integer("How often."),
        firstTimestamp=_of("string", "When first.", format="date-time", nullable=True),
        lastTimestamp=_of("string", "When last.", format="date-time", nullable=True),
        **_EVENT,
    ),
    "events.k8s.io/Event": _kind(
        "A report of something that happened.",
        regarding={**_REFERENCE, "description": "What it happened to."},
        note=_string("What happened, for people."),
        reportingController=_string("Which controller reports."),
        deprecatedSource=_SOURCE,
        deprecatedCount=_integer("How often; for old clients."),
        deprecatedFirstTimestamp=_of("string", "For old clients.", format="date-time", nullable=True),
        deprecatedLastTimestamp=_of("string", "For old clients.", format="date-time", nullable=True),
        **_EVENT,
    ),
    "Lease": _kind(
        "Who leads, and for how long.",
        spec=_object(
            "The lease.",
            holderIdentity=_string("Who holds it."),
            leaseDurationSeconds=_integer("How long others wait after the last renewal."),
            acquireTime=_TIME,
            renewTime=_TIME,
            leaseTransitions=_integer("How often the holder changed."),
            strategy=_string("How a coordinated leader is chosen."),
            preferredHolder=_string("Who should hold it next."),
        ),
    ),
    "Role": _kind("Permissions in one namespace.", rules=_list(_RULE, "What may be done.")),
    "ClusterRole": _kind(
        "Permissions in the whole cluster.",
        rules=_list(_RULE, "What may be done."),
        aggregationRule=_any("Whose rules are gathered here."),
    ),
    "RoleBinding": _kind("Grants a role in one namespace.", roleRef=_ROLE_REFERENCE, subjects=_list(_SUBJECT)),
    "ClusterRoleBinding": _kind("Grants a role everywhere.", roleRef=_ROLE_REFERENCE, subjects=_list(_SUBJECT)),
    "CustomResourceDefinition": _kind(
        "A kind that this server learns.",
        spec=_object(
            "The kind.",
            ("group", "names", "scope", "versions"),
            group=_string("API group."),
            names=_object(
                "How it is called.",
                ("kind", "plural"),
                kind=_string("As in manifests."),
                listKind=_string("Of a list of them."),
                plural=_string("As in paths."),
                singular=_string("As on the command line."),
                shortNames=_list(_string(), "Shorter still."),
                categories=_list(_string(), "Groups of kinds, such as all."),
            ),
            scope=_string("Namespaced or Cluster."),
            versions=_list(_any("A version, its schema and columns."), "All versions."),
            conversion=_any("How objects get from one version to another."),
            preserveUnknownFields=_boolean("Must be false."),
        ),
        status=_object(
            "What the server made of it.",
            conditions=_list(_CONDITION),
            acceptedNames=_any(),
            storedVersions=_list(_string()),
            observedGeneration=_integer(),
        ),
    ),
    "ValidatingAdmissionPolicy": _kind(
        "Rules that writes must keep.",
        spec=_object(
            "The rules.",
            failurePolicy=_string("Fail or Ignore what cannot be evaluated."),
            paramKind=_any("The kind of the objects that parametrise the rules."),
            matchConstraints=_any("Which writes are concerned."),
            matchConditions=_list(_any(), "Expressions that leave writes out."),
            variables=_list(_any(), "Named expressions for the others to read."),
            validations=_list(_any(), "Expressions that must hold."),
            auditAnnotations=_list(_any(), "Expressions for the audit log."),
        ),
        status=_object(
            "What the server made of it.",
            conditions=_list(_CONDITION),
            observedGeneration=_integer(),
            typeChecking=_any(),
        ),
    ),
    "ValidatingAdmissionPolicyBinding": _kind(
        "Puts a policy to work.",
        spec=_object(
            "How.",
            policyName=_string("The policy."),
            paramRef=_any("The objects that parametrise it."),
            matchResources=_any("Which writes, of those that the policy is about."),
            validationActions=_list(_string(), "Deny, Warn, Audit."),
        ),
    ),
}
