"""From a ranking to a smaller model: ranking and floors, instant slicing, costs."""

from snapvit.elastic.cost import cost_model, measure_latency
from snapvit.elastic.ranking import Floors, cut_at, final_scores, rank, removal_sparsity
from snapvit.elastic.vit import ElasticViT

__all__ = [
    "ElasticViT",
    "Floors",
    "cost_model",
    "cut_at",
    "final_scores",
    "measure_latency",
    "rank",
    "removal_sparsity",
]
