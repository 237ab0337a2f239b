"""Models from their files to what answers requests: found, loaded, proven, swapped."""
