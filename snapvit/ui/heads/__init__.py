"""What the Heads and neurons page is made of."""
