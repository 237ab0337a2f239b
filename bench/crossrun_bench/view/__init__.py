"""What every form of a report is made of. Knows no measurement."""
