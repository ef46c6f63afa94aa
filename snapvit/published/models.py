"""The models of the SnapViT paper: how its authors call them, and which timm architecture each one is.

Facts from the authors' code, which builds most of them through timm. It imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperModel:
    """One model that the authors publish scores or accuracies for."""

    timm: str
    image_size: int | None = None  # pixels, where the authors use another size than timm's default
    table_name: str | None = None  # in the published table of k-NN accuracies; None where it is not in it


# by the `model_type` that score files state
PAPER_MODELS = {
    "dino_vits16": PaperModel("vit_small_patch16_224.dino"),
    "dino_vitb16": PaperModel("vit_base_patch16_224.dino", table_name="DINOv1 ViT-B/16"),
    "dinov3_vitb16": PaperModel("vit_base_patch16_dinov3_qkvb.lvd1689m", 224, "DINOv3 ViT-B/16"),
    "dinov3_vith16plus": PaperModel("vit_huge_plus_patch16_dinov3_qkvb.lvd1689m", 224),
    "siglip2-vit-b16": PaperModel("vit_base_patch16_siglip_224.v2_webli", table_name="SigLIPv2 ViT-B/16"),
    "siglip2-vit-g16": PaperModel("vit_giantopt_patch16_siglip_256.v2_webli"),
    "deit-vit-b-16": PaperModel("deit_base_distilled_patch16_224.fb_in1k", table_name="DeIT ViT-B/16"),
    "deit-3-vit-s-16": PaperModel("deit3_small_patch16_224.fb_in22k_ft_in1k", table_name="DeIT-III ViT-S/16"),
    "deit-3-vit-b-16": PaperModel("deit3_base_patch16_224.fb_in22k_ft_in1k", table_name="DeIT-III ViT-B/16"),
    "deit-3-vit-l-16": PaperModel("deit3_large_patch16_224.fb_in22k_ft_in1k", table_name="DeIT-III ViT-L/16"),
    "deit-3-vit-h-14": PaperModel("deit3_huge_patch14_224.fb_in22k_ft_in1k", table_name="DeIT-III ViT-H/14"),
    "augreg-vit-s-16-in21k-ft-in1k": PaperModel("vit_small_patch16_224.augreg_in21k_ft_in1k"),
    "augreg-vit-b-16-in21k-ft-in1k": PaperModel(
        "vit_base_patch16_224.augreg_in21k_ft_in1k", table_name="AugReg ViT-B/16 IN21k Finetuned IN1k"
    ),
    "augreg-vit-l-16-in21k-ft-in1k": PaperModel(
        "vit_large_patch16_224.augreg_in21k_ft_in1k", table_name="AugReg ViT-L/16 IN21k Finetuned IN1k"
    ),
}


def paper_name(timm_name: str) -> str | None:
    """The authors' name of a timm model with its own pretrained weights; None where they do not use it."""
    return next((name for name, model in PAPER_MODELS.items() if model.timm == timm_name), None)
