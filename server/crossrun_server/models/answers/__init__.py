"""Checks what a model answers in each of its lanes, before it serves."""
