"""Adapter to Kubernetes and the small controller runtime on lightkube."""
