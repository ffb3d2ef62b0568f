"""Voice: conditions, Events and metrics from plans and outcomes."""
