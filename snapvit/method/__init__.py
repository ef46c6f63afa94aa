"""How a ranking is found: curvature, CKA, evolution strategy, fitness. Pure functions on tensors, seeds handed in."""
