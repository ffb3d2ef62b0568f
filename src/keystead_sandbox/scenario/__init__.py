"""The scenario that everyone sees first; it speaks to Kubernetes and Azure only from outside."""
