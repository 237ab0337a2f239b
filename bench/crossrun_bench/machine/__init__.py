"""The machine that figures were measured on."""
