"""What directions the features of a layer have, what each adds to an answer, and whether the answer needs it."""
