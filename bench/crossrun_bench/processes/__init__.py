"""Child processes and what they share with us."""
