"""The whole system on virtual time, drawn from one number: worlds, people, faults, kills; and what must always hold."""
