"""The measured runtimes, each a module that only the process that measures it imports."""
