"""Layouts count as the stock processors do, and a tower without [CLS] gets a first row for its sounds."""

import pytest
import torch
from rounding import assert_equal_to_rounding, share_weights
from tiny_families import family_config, family_model, family_processor
from tiny_models import tiny_sound_config
from tiny_processors import SAMPLING_RATE, picture, sound, tiny_feature_extractor

from soundclip_hf import SoundLlava, SoundLlavaConfig, SoundLlavaProcessor, add_sound
from soundclip_hf.modeling.slots.geometry import count_visual_tokens
from soundclip_hf.modeling.vision_tower import with_class_token
from soundclip_hf.modeling.visual_features.layouts import layout_of

SIZES = [(height, width) for height in (7, 28, 57, 100, 333) for width in (9, 28, 56, 101, 400)]


@pytest.mark.parametrize("family", ["llava_next", "llava_next_video", "llava_onevision"])
@pytest.mark.parametrize("most_views", [1, 2, 9])
def test_images_of_any_size_count_as_in_the_stock_processor(family, most_views):
    config, processor = family_config(family), family_processor(family)
    if family == "llava_onevision":
        config.vision_aspect_ratio = processor.vision_aspect_ratio = f"anyres_max_{most_views}"
    pixels = torch.zeros(len(SIZES), 5, 3, 28, 28)
    media = {"pixel_values": pixels, "image_sizes": torch.tensor(SIZES)}
    counts = [
        count_visual_tokens(geometry, sounding=False, select_strategy="default")
        for geometry in layout_of(config).geometries(media)
    ]
    options = {} if family == "llava_onevision" else {"size": {"shortest_edge": 28}}
    stock = processor._get_num_multimodal_tokens(image_sizes=SIZES, **options).num_image_tokens
    assert counts == stock


def test_onevision_by_hand():
    layout = layout_of(family_config("llava_onevision"))
    media = {"pixel_values": torch.zeros(4, 5, 3, 28, 28), "image_sizes": torch.tensor([[56, 56], [28, 28]] * 2)}
    # 2 x 2 tiles of 4 x 4 patches, which is 4 views' worth where 1 is allowed: 8 x 8 tokens become 4 x 4.
    tiles, small = layout.geometries({**media, "batch_num_images": torch.tensor([1, 1, 1, 1])})[:2]
    assert (tiles.grid, tiles.shrunk, tiles.newlines, tiles.tile_tokens) == ((2, 2), (4, 4), 4, 16)
    assert count_visual_tokens(tiles, sounding=False) == 16 + 16 + 4
    # A picture of one view still has tiles.
    assert small.num_views > 1
    # Two pictures in one sample are single views.
    first, second, third, _ = layout.geometries({**media, "batch_num_images": torch.tensor([2, 1, 1])})
    assert [geometry.num_views for geometry in (first, second)] == [1, 1]
    assert count_visual_tokens(first, sounding=False) == 16 + 1
    assert third.grid == (2, 2)
    assert first.order().tolist() == [*range(16), -1]


def test_the_first_row_of_a_tower_without_cls_is_the_mean():
    features = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert with_class_token(features, 2, False).tolist() == [[[2.0, 4.0], [1.0, 2.0], [3.0, 6.0]]]
    assert with_class_token(features, 1, True) is features
    with pytest.raises(ValueError, match=r"has 2 rows for 4 patches and \[CLS\]: a tower with other rows"):
        with_class_token(features, 4, True)


def test_a_sound_llava_with_siglip():
    """As with add_sound: silence is the stock model's, and a sound has a place of its own."""
    stock, own = family_model("llava_siglip"), family_processor("llava_siglip")
    config = SoundLlavaConfig.from_llava_config(stock.config, sound_config=tiny_sound_config(alignment="raw"))
    torch.manual_seed(2)
    whole = SoundLlava(config).eval()
    whole.load_state_dict(stock.state_dict(), strict=False)
    share_weights(stock, whole)
    processor = SoundLlavaProcessor.from_llava(own, tiny_feature_extractor(), sound_config=config.sound_config)
    call = {"images": picture(), "text": "<image>\nWhat?", "return_tensors": "pt"}
    silent, expected = processor(**call), own(**call)
    assert torch.equal(silent["input_ids"], expected["input_ids"])
    with torch.no_grad():
        assert_equal_to_rounding(whole(**silent).logits, stock(**expected).logits)
        heard = {
            "images": [[picture()], [picture(30, 20)]],
            "text": ["<image><audio>", "<image>"],
            "audio": [[sound()], [None]],
            "sampling_rate": SAMPLING_RATE,
            "padding": True,
            "return_tensors": "pt",
        }
        logits = whole(**processor(**heard)).logits
        model, added = add_sound(
            stock, whole.model.audio_tower, processor=own, feature_extractor=tiny_feature_extractor(), token_budget=5
        )
        batch = added(**heard)
        assert [(row == 3).sum().item() for row in batch["input_ids"]] == [17, 16]
        torch.testing.assert_close(model(**batch).logits, logits, rtol=0, atol=1e-5)
