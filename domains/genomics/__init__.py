"""DNA: sequences in, classes out."""
