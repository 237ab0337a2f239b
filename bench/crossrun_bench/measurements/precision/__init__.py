"""What the precisions of one model cost, in speed and in answers."""
