"""The built-in secrets engine for clusters without External Secrets Operator."""
