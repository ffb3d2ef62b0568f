"""Eyes: what stands in Kubernetes and Azure, as one frozen Snapshot."""
