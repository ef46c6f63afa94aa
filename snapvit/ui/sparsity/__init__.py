"""What the Sparsity page is made of."""
