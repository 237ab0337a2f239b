"""What is measured: a folder for each command, with its values, its summary and how it is shown."""
