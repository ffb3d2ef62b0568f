"""Hands: carries a plan out; one serial, paced lane per managed identity."""
