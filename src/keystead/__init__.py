"""Self-service Azure workload identity for External Secrets."""
