"""Who may do what, by tokens and certificates; and who has done what."""
