"""What can be measured, and the processes that run it."""
