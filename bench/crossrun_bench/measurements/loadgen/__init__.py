"""MLPerf LoadGen drives a model."""
