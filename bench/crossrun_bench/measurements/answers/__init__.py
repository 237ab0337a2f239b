"""What targets say of the same pictures: how they are asked, and how classes are compared."""
