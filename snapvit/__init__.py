"""SnapViT explorer: rank a Vision Transformer's neurons and heads once, then cut any sparsity out of it at once.

Read `artifacts.py` first: it is the vocabulary that every other module uses.
"""

__version__ = "0.1.0"
