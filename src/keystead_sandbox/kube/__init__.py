"""An embedded Kubernetes API server, for the operator, the engine and kubectl.

It keeps objects, versions, watches, patches, field ownership, namespaces' lives and tokens as the real one does.
RBAC and admission policies are not enforced: every authenticated user may do everything.
"""
