"""What detectors find, against the boxes of a data set."""
