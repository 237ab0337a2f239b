"""What keeps a loaded model in order: whether its runs fail, and the memory that idles."""
