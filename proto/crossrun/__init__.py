"""Stubs of crossrun's services, generated from the .proto files beside them."""
