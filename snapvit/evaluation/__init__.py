"""What a cut costs in quality: embeddings of images, and k-NN accuracy on them."""

from snapvit.evaluation.features import embeddings, mean_cosine
from snapvit.evaluation.knn import Knn, wilson_interval

__all__ = ["Knn", "embeddings", "mean_cosine", "wilson_interval"]
