"""Calls answered on the threads that took them from the network: no event loop in between."""
