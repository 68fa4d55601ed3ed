"""Where a model type has its vision tower and projector, and how it lays out the tokens of an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..slots.geometry import SlotGeometry, image_slot
from ..vision_tower import check_finite, has_class_token, vision_features, with_class_token


class VisualLayout:
    """
    The layout of LLaVA-1.5: one view of an image, one token for each of its patches.

    Args:
        config: Of the model.
    """

    # Names of the parts inside the base model, and whether the stock forward takes visual tokens as one tensor in place
    # of a list with one for each image.
    tower = "vision_tower"
    projector = "multi_modal_projector"
    as_tensor = False
    tiled = False
    # What the image processor returns, and the model takes, beside `pixel_values`.
    media: tuple[str, ...] = ()

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config: Any = config

    @property
    def patches_per_side(self) -> int:
        """Side of one view's grid of patches: 24 for CLIP ViT-L/14 at 336 pixels."""
        return self.config.vision_config.image_size // self.config.vision_config.patch_size

    @property
    def feature_layer(self) -> int | list[int]:
        return self.config.vision_feature_layer

    @property
    def select_strategy(self) -> str:
        """Whether an image without sound shows the row of `[CLS]`: "full", or "default" if not."""
        return self.config.vision_feature_select_strategy

    @property
    def has_class_token(self) -> bool:
        return has_class_token(self.config.vision_config)

    def width(self) -> int:
        """Width of the tower's tokens, which is that of `f_a`."""
        layers = 1 if isinstance(self.feature_layer, int) else len(self.feature_layer)
        return layers * self.config.vision_config.hidden_size

    def check(self) -> None:
        """
        Raises:
            ValueError: If the tower of this configuration has no tokens that a sound could take the place of.
        """
        vision = self.config.vision_config
        for name in ("image_size", "patch_size"):
            if not isinstance(getattr(vision, name, None), int):
                raise ValueError(
                    f"{name}={getattr(vision, name, None)!r} of the vision tower {vision.model_type!r}: sound needs a "
                    "tower with square views and patches."
                )
        if vision.model_type in ("pixtral", "qwen2_vl", "qwen2_5_vl"):
            raise ValueError(
                f"The vision tower {vision.model_type!r} takes images of any size; sound needs views of one size."
            )
        if not self.has_class_token and self.select_strategy == "default":
            raise ValueError(
                f"vision_feature_select_strategy='default' leaves out the first row, but the vision tower "
                f"{vision.model_type!r} has no [CLS] there. Set it to 'full' in the model's configuration."
            )

    def geometries(self, media: Mapping[str, Any]) -> list[SlotGeometry]:
        """
        What each image shows, from shapes and sizes alone.

        Args:
            media: `pixel_values` and the inputs named in `self.media`, as the image processor returned them.
        """
        pixels = media.get("pixel_values")
        return [] if pixels is None else [image_slot(self.patches_per_side)] * len(pixels)

    def views(self, media: Mapping[str, Any], geometries: Sequence[SlotGeometry]) -> Tensor:
        """The views of all images, `(views, 3, height, width)`, without those that only fill up a batch."""
        return media["pixel_values"]

    def tokens(
        self, model: nn.Module, views: Tensor, layer: int | list[int], **kwargs: Any
    ) -> tuple[BaseModelOutputWithPooling, Tensor]:
        """The tower's output, and `(views, N + 1, D)` tokens, `[CLS]` (or the mean of the patches) first."""
        return vision_features(getattr(model, self.tower), views, layer, **kwargs)


class AnyResLayout(VisualLayout):
    """LLaVA-1.6: a base view, and tiles of a larger picture, whose rows end in a newline token."""

    tiled = True
    media: tuple[str, ...] = ("image_sizes",)

    def geometries(self, media: Mapping[str, Any]) -> list[SlotGeometry]:
        if media.get("pixel_values") is None:
            return []
        sizes = media.get("image_sizes")
        if sizes is None:
            raise ValueError("LLaVA-1.6 needs image_sizes (images, 2) beside pixel_values.")
        return [self._geometry(*(int(value) for value in size)) for size in sizes]

    def _geometry(self, height: int, width: int) -> SlotGeometry:
        tile = self.config.vision_config.image_size
        return image_slot(self.patches_per_side, (height, width), self.config.image_grid_pinpoints, tile)

    def views(self, media: Mapping[str, Any], geometries: Sequence[SlotGeometry]) -> Tensor:
        pixels = media["pixel_values"]
        if pixels.dim() == 4:
            return pixels
        if pixels.dim() != 5:
            raise ValueError(f"pixel_values of shape {tuple(pixels.shape)}, expected 4 or 5 dimensions.")
        return torch.cat([image[: geometry.num_views] for image, geometry in zip(pixels, geometries)])


class OneVisionLayout(AnyResLayout):
    """
    LLaVA-OneVision: as 1.6, but joined tiles of more than a number of views are shrunk, and each image of several in
    one sample is a single view that ends in a newline.
    """

    media = ("image_sizes", "batch_num_images", "vision_aspect_ratio")

    def geometries(self, media: Mapping[str, Any]) -> list[SlotGeometry]:
        geometries = super().geometries(media)
        ratio = media.get("vision_aspect_ratio") or self.config.vision_aspect_ratio
        most_views = int(ratio.removeprefix("anyres_max_"))
        counts = media.get("batch_num_images")
        counts = [1] * len(geometries) if counts is None else [int(count) for count in counts]
        alone = [count == 1 for count in counts for _ in range(count)]
        single = replace(image_slot(self.patches_per_side), ends_in_newline=True)
        return [
            self._shrunk(geometry, most_views) if in_tiles else single
            for geometry, in_tiles in zip(geometries, alone, strict=True)
        ]

    def _shrunk(self, geometry: SlotGeometry, most_views: int) -> SlotGeometry:
        rows, columns = geometry.tile_rows, geometry.tile_columns
        ratio = math.sqrt(rows * columns / (most_views * geometry.num_patches))
        return replace(geometry, shrunk=(int(rows // ratio), int(columns // ratio))) if ratio > 1.1 else geometry


class VipLayout(VisualLayout):
    """ViP-LLaVA: several layers of the tower side by side, always without `[CLS]`."""

    as_tensor = True

    @property
    def select_strategy(self) -> str:
        return "default"


class VideoLlavaLayout(VisualLayout):
    """Video-LLaVA, whose images have a tower of their own."""

    tower = "image_tower"
    as_tensor = True


class LastLayerLayout(VisualLayout):
    """Models whose projector takes all rows of the tower's last layer, after its final norm."""

    as_tensor = True

    @property
    def feature_layer(self) -> int | list[int]:
        return -1

    @property
    def select_strategy(self) -> str:
        return "full"

    def tokens(
        self, model: nn.Module, views: Tensor, layer: int | list[int], **kwargs: Any
    ) -> tuple[BaseModelOutputWithPooling, Tensor]:
        output = getattr(model, self.tower)(views, return_dict=True, **kwargs)
        features = self._rows(output.last_hidden_state)
        check_finite(features)
        return output, with_class_token(features, self.patches_per_side**2, self.has_class_token)

    def _rows(self, last_hidden_state: Tensor) -> Tensor:
        return last_hidden_state


class DeepseekLayout(LastLayerLayout):
    """DeepSeek-VL, with a SigLIP tower."""

    tower = "vision_model"
    projector = "aligner"


class FastVlmLayout(LastLayerLayout):
    """FastVLM, whose tower ends in convolutions: a feature map in place of rows."""

    @property
    def has_class_token(self) -> bool:
        return False

    @property
    def patches_per_side(self) -> int:
        return math.isqrt(self.config.image_seq_length)

    def width(self) -> int:
        return self.config.vision_config.hidden_size

    def check(self) -> None:
        pass

    def _rows(self, last_hidden_state: Tensor) -> Tensor:
        return last_hidden_state.flatten(2).transpose(1, 2)


# By `model_type`.
LAYOUTS: dict[str, type[VisualLayout]] = {
    "llava": VisualLayout,
    "llava_next": AnyResLayout,
    "llava_next_video": AnyResLayout,
    "llava_onevision": OneVisionLayout,
    "vipllava": VipLayout,
    "video_llava": VideoLlavaLayout,
    "deepseek_vl": DeepseekLayout,
    "fast_vlm": FastVlmLayout,
}


def layout_of(config: PreTrainedConfig) -> VisualLayout:
    """The layout of a model by its configuration; a SoundLlava has that of its LLaVA."""
    return LAYOUTS[getattr(config, "llava_variant", config.model_type)](config)


__all__ = ["LAYOUTS", "VisualLayout", "layout_of"]
