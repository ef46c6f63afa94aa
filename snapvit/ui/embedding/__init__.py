"""What the Embedding page is made of."""
