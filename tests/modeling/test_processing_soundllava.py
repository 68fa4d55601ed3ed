"""SoundLlavaProcessor: silent batches are the stock processor's, the token table holds, batches equal single rows."""

import inspect
import io
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from rounding import assert_equal_inputs
from tiny_processors import (
    IMAGE_ID,
    SAMPLING_RATE,
    picture,
    sound,
    tiny_feature_extractor,
    tiny_llava_processor,
    tiny_sound_processor,
    tiny_tokenizer,
)
from transformers import AutoProcessor, LlavaNextImageProcessor, WhisperFeatureExtractor
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

VARIANTS = ("llava", "llava_next")
PROMPT = "USER: <image>\nWhat? ASSISTANT:"
HEARD = "USER: <image><audio>\nWhat? ASSISTANT:"
OURS = {"input_features", "input_features_mask", "sound_slots", "sound_budget"}


def image_tokens(batch):
    return (batch["input_ids"] == IMAGE_ID).sum(dim=-1).tolist()


# Without sound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "call",
    [
        {"images": picture(), "text": PROMPT},
        {"images": [picture(), picture(90, 30, 1)], "text": [PROMPT, "<image> and more text"], "padding": True},
        {
            "images": [[picture()], [picture(20, 60), picture(60, 20)]],
            "text": [PROMPT, "<image><image>"],
            "padding": True,
        },
        {"images": [[picture()], []], "text": [PROMPT, "only text"], "padding": True, "padding_side": "right"},
        {"text": ["only text"], "return_mm_token_type_ids": True},
        {"images": picture(), "text": PROMPT, "padding": "max_length", "max_length": 200},
    ],
    ids=["one", "two", "nested", "text row", "text only", "padded"],
)
def test_silent_batch_is_the_stock_processor_bit_for_bit(variant, strategy, call):
    stock = tiny_llava_processor(variant, vision_feature_select_strategy=strategy)
    ours = tiny_sound_processor(variant, vision_feature_select_strategy=strategy)
    expected = stock(**call, return_tensors="pt")
    samples = len(expected["input_ids"])
    for audio in (None, [[]] * samples, [None] * samples, [[None]] * samples):
        assert_equal_inputs(ours(**call, audio=audio, return_tensors="pt"), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_silent_batch_without_tensors_is_the_stock_processor(variant):
    expected = tiny_llava_processor(variant)(images=picture(), text=PROMPT)
    found = tiny_sound_processor(variant)(images=picture(), text=PROMPT)
    assert found["input_ids"] == expected["input_ids"]
    assert list(found) == list(expected)


# How many tokens -------------------------------------------------------------------------------------------------

# By hand, for 24 patches a side and the default pinpoints (height, width):
#   720x1280 fits 672x672 best (672x378 of it): 48 columns, 27 of 48 rows, (48 - 27) // 2 = 10 go on either side, so
#     28 rows stay, 14 of each tile: U_t = 14 * 24 = 336, U = 1344, R = 28
#   1:1 fills 672x672: U_t = 576, U = 2304, R = 48;  300x900 fills 336x1008: 3 tiles, U = 1728, R = 24
#   900x300 fills 1008x336: U = 1728, R = 72
ANYRES = {
    (720, 1280): ([336] * 4, 28),
    (500, 500): ([576] * 4, 48),
    (300, 900): ([576] * 3, 24),
    (900, 300): ([576] * 3, 72),
}


def real(variant, **kwargs):
    return tiny_sound_processor(variant, image_size=336, patch_size=14, **{"sound_top_k": 150, **kwargs})


class CachingImageProcessor(LlavaNextImageProcessor):
    """Five views of 336 pixels take a while, and only their number and size count here."""

    cache: dict = {}

    def preprocess(self, images, **kwargs):
        key = (images[0] if isinstance(images, list) else images).size
        if key not in self.cache:
            self.cache[key] = super().preprocess(images, **kwargs)
        return self.cache[key]


@pytest.fixture(scope="module")
def real_next():
    processor = real("llava_next")
    processor.image_processor = CachingImageProcessor(**processor.image_processor.to_dict())
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    assert sorted(processor.image_processor.image_grid_pinpoints) == sorted(pinpoints)
    return processor


def count(processor, size, k=None, patches="zero", text=HEARD):
    batch = processor(
        images=picture(*size),
        text=text,
        audio=sound() if "<audio>" in text else None,
        sampling_rate=SAMPLING_RATE,
        sound_patches=patches,
        sound_top_k=k,
        return_tensors="pt",
    )
    return image_tokens(batch)[0]


@pytest.mark.parametrize("size", ANYRES)
def test_token_table_of_llava_1_6(real_next, size):
    tiles, newlines = ANYRES[size]
    unpadded = sum(tiles)
    silent = count(real_next, size, text=PROMPT)
    stock = tiny_llava_processor("llava_next", image_size=336, patch_size=14)
    assert silent == 576 + unpadded + newlines == image_tokens(stock(picture(*size), PROMPT, return_tensors="pt"))[0]
    assert count(real_next, size) == 577 + unpadded + newlines
    for scope in ("tile", "image", "base"):
        real_next.patch_budget_scope = scope
        for k in (0, 15, 150, 400, 576):
            kept = {
                "tile": min(k, 576) + sum(min(k, tile) for tile in tiles),
                "image": min(k, 576 + unpadded),
                "base": min(k, 576),
            }[scope]
            assert count(real_next, size, k, "drop") == 1 + kept + newlines, (scope, k)
    real_next.patch_budget_scope = "image"
    assert count(real_next, size, 576 * (1 + len(tiles)), "drop") == 577 + unpadded + newlines
    real_next.patch_budget_scope = "tile"


def test_token_table_of_llava_1_6_in_plain_numbers(real_next):
    assert count(real_next, (720, 1280), text=PROMPT) == 1948
    assert count(real_next, (720, 1280)) == 1949
    assert count(real_next, (720, 1280), 150, "drop") == 779
    assert count(real_next, (720, 1280), 15, "drop") == 104
    assert count(real_next, (500, 500), 150, "drop") == 799
    assert count(real_next, (300, 900), 150, "drop") == 625
    assert count(real_next, (900, 300), 150, "drop") == 673


def test_survivors_are_those_that_transformers_unpads(real_next):
    # Through the model's own unpadding of a grid that holds, for every patch, the number of its tile.
    pinpoints = real_next.image_processor.image_grid_pinpoints
    for height, width in np.random.default_rng(0).integers(20, 1500, (8, 2)).tolist():
        rows, columns = get_anyres_image_grid_shape((height, width), pinpoints, 336)
        tiles = torch.arange(rows * columns).reshape(rows, 1, columns, 1).expand(-1, 24, -1, 24)
        shown = unpad_image(tiles.reshape(1, rows * 24, columns * 24), (height, width))[0]
        kept = [min(7, int((shown == tile).sum())) for tile in range(rows * columns)]
        size = (height, width)
        assert count(real_next, size) == 577 + shown.numel() + len(shown), size
        assert count(real_next, size, 7, "drop") == 1 + 7 + sum(kept) + len(shown), size


def test_token_table_of_llava_1_5():
    processor = real("llava")
    for size in ANYRES:
        assert count(processor, size, text=PROMPT) == 576
        assert count(processor, size) == 577
        assert [count(processor, size, k, "drop") for k in (0, 15, 150, 576)] == [1, 16, 151, 577]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sound_without_image(variant):
    processor = real(variant)
    for patches, expected in (("zero", 577), ("drop", 1)):
        batch = processor(
            text="<audio> What?",
            audio=sound(),
            sampling_rate=SAMPLING_RATE,
            sound_patches=patches,
            return_tensors="pt",
        )
        assert image_tokens(batch) == [expected]
        assert batch["sound_slots"].tolist() == [[-1, 0]]
        assert batch["sound_budget"].tolist() == [-1 if patches == "zero" else 150]
        assert "pixel_values" not in batch


def test_the_default_strategy_drops_the_sounds_row():
    processor = real("llava", sound_select_strategy="default")
    assert count(processor, (40, 60)) == 576
    assert count(processor, (40, 60), 150, "drop") == 150


@pytest.mark.parametrize("variant", VARIANTS)
def test_get_num_multimodal_tokens(variant):
    processor = real(variant)
    sizes = [[720, 1280], [500, 500]]
    data = processor._get_num_multimodal_tokens(image_sizes=sizes)
    batch = processor([picture(*size) for size in sizes], ["<image>", "<image>"], return_tensors="pt", padding=True)
    assert data.num_image_tokens == image_tokens(batch)
    assert data.num_image_patches == [1, 1]


# Batches ---------------------------------------------------------------------------------------------------------

WAVES = [sound(0.4, 1), sound(0.9, 2), sound(0.2, 3)]
SAMPLES = [
    ("<image><audio> heard", [picture(40, 60)], [WAVES[0]]),
    ("<image> silent", [picture(30, 90, 1)], []),
    ("<audio> sound only", [], [WAVES[1]]),
    ("only text, and the longest one of this batch", [], []),
    ("<image> and <image><audio>", [picture(28, 28, 2), picture(90, 30, 3)], [None, WAVES[2]]),
    ("<image><image><audio> both", [picture(50, 50, 4), picture(10, 70, 5)], [WAVES[0]]),
]
SLOTS = [[0, 0], [1, -1], [-1, 1], [2, -1], [3, 2], [4, 3], [5, 3]]


def batch_of(processor, samples, **kwargs):
    texts, images, audio = zip(*samples)
    return processor(
        images=[list(pictures) for pictures in images] if any(images) else None,
        text=list(texts),
        audio=list(audio),
        sampling_rate=SAMPLING_RATE,
        padding=True,
        return_tensors="pt",
        **kwargs,
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("patches", ["zero", "drop"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_equals_single_samples(variant, patches, side):
    processor = tiny_sound_processor(variant, sound_patches=patches)
    batch = batch_of(processor, SAMPLES, padding_side=side)
    assert batch["sound_slots"].tolist() == SLOTS
    assert batch["sound_slots"].dtype == batch["sound_budget"].dtype == torch.int64
    assert batch["sound_budget"].tolist() == [-1 if patches == "zero" or heard < 0 else 5 for _, heard in SLOTS]
    slots = iter(SLOTS)
    for row, sample in enumerate(SAMPLES):
        single = batch_of(processor, [sample])
        kept = batch["attention_mask"][row].bool()
        assert torch.equal(batch["input_ids"][row][kept], single["input_ids"][0])
        assert kept.tolist() == sorted(kept.tolist(), reverse=side == "right")
        mine = [next(slots) for _ in range(max(len(sample[1]), len(sample[2])))]
        for number, image in enumerate(image for image, _ in mine if image >= 0):
            views = single["pixel_values"][number]
            assert torch.equal(batch["pixel_values"][image][: len(views)], views)
        for number, heard in enumerate(dict.fromkeys(heard for _, heard in mine if heard >= 0)):
            features = single["input_features"][number]
            frames = int(single["input_features_mask"][number].sum())
            torch.testing.assert_close(batch["input_features"][heard][..., :frames], features[..., :frames])
            assert int(batch["input_features_mask"][heard].sum()) == frames


@pytest.mark.parametrize("variant", VARIANTS)
def test_silent_rows_keep_the_stock_ids(variant):
    batch = batch_of(tiny_sound_processor(variant), SAMPLES)
    stock = tiny_llava_processor(variant)
    for row in (1, 3):
        text, images, _ = SAMPLES[row]
        expected = stock(images=images or None, text=text, return_tensors="pt")["input_ids"][0]
        assert torch.equal(batch["input_ids"][row][batch["attention_mask"][row].bool()], expected)


def test_the_marker_leaves_no_trace():
    processor = tiny_sound_processor("llava")
    heard = processor(picture(), HEARD, sound(), sampling_rate=SAMPLING_RATE)["input_ids"][0]
    silent = processor(picture(), PROMPT)["input_ids"][0]
    assert [i for i in heard if i != IMAGE_ID] == [i for i in silent if i != IMAGE_ID]
    assert heard.count(IMAGE_ID) == silent.count(IMAGE_ID) + 1


def test_none_stands_for_no_image_and_no_sound():
    processor = tiny_sound_processor("llava")
    options = {"sampling_rate": SAMPLING_RATE, "padding": True, "return_tensors": "pt"}
    texts = [HEARD, "<audio> only", PROMPT]
    flat = processor([picture(), None, picture(9, 9)], texts, [WAVES[0], WAVES[1], None], **options)
    assert flat["sound_slots"].tolist() == [[0, 0], [-1, 1], [1, -1]]
    nested = processor([[picture()], None, [picture(9, 9)]], texts, [[WAVES[0]], [WAVES[1]], None], **options)
    assert_equal_inputs(nested, flat)
    assert_equal_inputs(processor([None], ["no picture"], [None], **options), processor(text=["no picture"], **options))
    assert_equal_inputs(processor([[]], ["no picture"], [[]], **options), processor(text=["no picture"], **options))


def test_budget_per_slot():
    processor = tiny_sound_processor("llava", sound_patches="drop")
    top_k = [[1], [None], [2], [], [None, 3], [4, 0]]
    batch = batch_of(processor, SAMPLES, sound_top_k=top_k)
    assert batch["sound_budget"].tolist() == [1, -1, 2, -1, 3, 4, 0]
    assert image_tokens(batch) == [2, 16, 1, 0, 16 + 4, 5 + 1]
    flat = batch_of(processor, SAMPLES, sound_top_k=[1, 9, 2, 9, 3, 4, 0])
    assert_equal_inputs(flat, batch)


def test_drop_and_zero_of_all_patches_have_the_same_prompt():
    processor = tiny_sound_processor("llava_next")
    drop = batch_of(processor, SAMPLES[:2], sound_patches="drop", sound_top_k=16)
    assert torch.equal(drop["input_ids"], batch_of(processor, SAMPLES[:2])["input_ids"])


def test_without_text_images_and_sounds_are_paired_alike():
    processor = tiny_sound_processor("llava")
    flat = processor([picture(), picture()], audio=WAVES[:2], sampling_rate=SAMPLING_RATE, return_tensors="pt")
    assert flat["sound_slots"].tolist() == [[0, 0], [1, 1]]
    nested = processor([[picture()], [picture()]], audio=[[], [WAVES[0]]], sampling_rate=SAMPLING_RATE)
    assert nested["sound_slots"].tolist() == [[0, -1], [1, 0]]
    assert "input_ids" not in flat


def test_flat_options_do_not_reach_the_sound():
    processor = tiny_sound_processor("llava")
    call = {"images": picture(), "text": HEARD, "audio": sound(0.7), "sampling_rate": SAMPLING_RATE}
    plain = processor(**call, return_tensors="pt")
    padded = processor(
        **call, return_tensors="pt", padding="max_length", max_length=104, truncation=True, pad_to_multiple_of=8
    )
    assert padded["input_ids"].shape == (1, 104)
    names = OURS | {"pixel_values"}
    assert_equal_inputs(*({name: batch[name] for name in names} for batch in (plain, padded)))
    assert padded["attention_mask"].sum() == plain["attention_mask"].sum()


def test_arguments_in_the_dictionaries_of_transformers():
    """As sentence-transformers hands them over."""
    processor = tiny_sound_processor("llava")
    call = {"images": picture(), "text": HEARD, "audio": sound()}
    nested = {
        "text_kwargs": {"padding": True, "truncation": "longest_first"},
        "images_kwargs": {},
        "audio_kwargs": {"padding": True, "sampling_rate": SAMPLING_RATE},
        "videos_kwargs": {},
        "common_kwargs": {"return_tensors": "pt"},
    }
    plain = processor(**call, sampling_rate=SAMPLING_RATE, padding=True, return_tensors="pt")
    assert_equal_inputs(processor(**call, **nested), plain)


def test_a_mask_of_the_same_name_does_not_replace_that_of_the_text():
    class Extractor(WhisperFeatureExtractor):
        def __call__(self, sounds, sampling_rate, return_tensors):
            features = np.zeros((len(sounds), 80, 30), dtype=np.float32)
            return {"input_features": features, "attention_mask": np.ones((len(sounds), 30), dtype=np.int64)}

    processor = tiny_sound_processor("llava")
    processor.feature_extractor = Extractor()
    batch = processor(picture(), HEARD, sound(), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    assert batch["attention_mask"].shape == batch["input_ids"].shape
    assert batch["input_features_mask"].shape == (1, 30)


def test_types_and_offsets():
    processor = tiny_sound_processor("llava")
    call = {"images": picture(), "text": HEARD, "audio": sound(), "sampling_rate": SAMPLING_RATE}
    batch = processor(**call, return_mm_token_type_ids=True, return_text_replacement_offsets=True, return_tensors="pt")
    assert torch.equal(batch["mm_token_type_ids"], (batch["input_ids"] == IMAGE_ID).long())
    assert [entry["replacement"] for entry in batch["text_replacement_offsets"][0]] == ["<image>" * 17]


# Kinds of sound --------------------------------------------------------------------------------------------------


def sources(folder: Path):
    rate = 8_000
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, rate, dtype=np.int16)
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    waveform = samples.astype(np.float32) / 2**15
    content = path.read_bytes()

    class Decoder:
        def get_all_samples(self):
            class Samples:
                data, sample_rate = torch.from_numpy(waveform)[None], rate

            return Samples

    return {
        "path": (str(path), None),
        "Path": (path, None),
        "URL": (path.as_uri(), None),
        "bytes": (content, None),
        "array": (waveform, rate),
        "int16": (samples, rate),
        "list": (waveform.tolist(), rate),
        "stereo": (np.stack([waveform, waveform]), rate),
        "tensor": (torch.from_numpy(waveform), rate),
        "pair": ((waveform, rate), None),
        "datasets array": ({"array": waveform, "sampling_rate": rate, "path": None}, None),
        "datasets bytes": ({"bytes": content, "path": "gone.wav"}, None),
        "datasets path": ({"bytes": None, "path": str(path)}, None),
        "decoder": (Decoder(), None),
    }


def test_every_kind_of_sound_gives_the_same_features(tmp_path):
    processor = tiny_sound_processor("llava")
    kinds = sources(tmp_path)
    expected = processor(text="<audio>", audio=kinds["path"][0], return_tensors="pt")
    for kind, (source, rate) in kinds.items():
        for audio in (source, [source], [[source]]):
            batch = processor(text="<audio>", audio=audio, sampling_rate=rate, return_tensors="pt")
            for name in expected:
                torch.testing.assert_close(batch[name], expected[name], rtol=0, atol=1e-5, msg=f"{kind}: {name}")
    rated = processor(
        text="<audio>", audio=kinds["array"][0], audio_kwargs={"sampling_rate": 8_000}, return_tensors="pt"
    )
    assert_equal_inputs(rated, expected)


# Saving, loading, building ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_and_reloaded(variant, tmp_path):
    fields = {
        "sound_patches": "drop",
        "sound_top_k": 3,
        "patch_budget_scope": "image",
        "sound_select_strategy": "default",
        "vision_feature_select_strategy": "full",
        "audio_token": "<sound>",
    }
    processor = tiny_sound_processor(variant, **fields)
    processor.save_pretrained(tmp_path)
    for loader in (AutoProcessor, SoundLlavaProcessor):
        reloaded = loader.from_pretrained(tmp_path)
        assert type(reloaded) is SoundLlavaProcessor
        assert reloaded.to_dict() == processor.to_dict()
        assert reloaded.chat_template == processor.chat_template
        for name in (*fields, "patch_size", "llava_variant", "num_additional_image_tokens", "image_token"):
            assert getattr(reloaded, name) == getattr(processor, name)
        text = "<image><sound> and <image>"
        call = {"images": [picture(), picture(90, 20)], "text": text, "audio": [sound(), None]}
        first, second = (p(**call, sampling_rate=SAMPLING_RATE, return_tensors="pt") for p in (processor, reloaded))
        assert_equal_inputs(first, second)
    assert AutoProcessor.from_pretrained(tmp_path, sound_top_k=7).sound_top_k == 7


@pytest.mark.parametrize("number", [np.int64(3), np.array(3), torch.tensor(3)], ids=["numpy", "0-d", "torch"])
def test_integers_of_numpy_and_torch_are_integers(number, tmp_path):
    """The constructor takes what a call takes, and saves it as a number."""
    processor = tiny_sound_processor("llava", sound_patches="drop", sound_top_k=number, patch_size=number + 4)
    assert (type(processor.sound_top_k), type(processor.patch_size)) == (int, int)
    call = {
        "images": picture(),
        "text": HEARD,
        "audio": sound(),
        "sampling_rate": SAMPLING_RATE,
        "return_tensors": "pt",
    }
    assert_equal_inputs(
        processor(**call), tiny_sound_processor("llava", sound_patches="drop")(**call, sound_top_k=number)
    )
    processor.save_pretrained(tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).sound_top_k == 3


def test_every_field_is_saved():
    processor = tiny_sound_processor("llava")
    saved = processor.to_dict()
    for name in inspect.signature(SoundLlavaProcessor.__init__).parameters:
        assert name in saved or name in ("self", "tokenizer", "chat_template"), name


def test_the_vocabulary_is_the_bases():
    processor = tiny_sound_processor("llava")
    assert processor.audio_token_id is None
    assert len(processor.tokenizer) == len(tiny_tokenizer())
    assert (
        processor.decode(processor(text="Zoë — 音", images=None)["input_ids"][0], skip_special_tokens=True)
        == "Zoë — 音"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_model_input_names(variant):
    processor = tiny_sound_processor(variant)
    batch = processor(picture(), HEARD, sound(), sampling_rate=SAMPLING_RATE)
    assert set(processor.model_input_names) == set(batch)
    assert len(set(processor.model_input_names)) == len(processor.model_input_names)


@pytest.mark.parametrize("variant", VARIANTS)
def test_from_llava(variant, tmp_path):
    stock = tiny_llava_processor(variant, chat_template="{{ messages }}", num_additional_image_tokens=0)
    stock.save_pretrained(tmp_path / "llava")
    tiny_feature_extractor().save_pretrained(tmp_path / "ears")
    config = SoundClipConfig(
        audio_config={"model_type": "whisper_clip", "window": "short"},
        patches="drop",
        token_budget=3,
        patch_budget_scope="base",
        sound_select_strategy="default",
    )
    for llava in (stock, tmp_path / "llava", str(tmp_path / "llava")):
        for ears in (tiny_feature_extractor(), tmp_path / "ears", WhisperFeatureExtractor()):
            processor = SoundLlavaProcessor.from_llava(llava, ears, sound_config=config, sound_top_k=2)
            assert isinstance(processor.feature_extractor, WhisperClipFeatureExtractor)
            assert processor.feature_extractor.window == "short"
            assert processor.chat_template == "{{ messages }}"
            assert processor.num_additional_image_tokens == 1
            assert (processor.llava_variant, processor.patch_size) == (variant, 7)
            assert (processor.sound_patches, processor.sound_top_k) == ("drop", 2)
            assert (processor.patch_budget_scope, processor.sound_select_strategy) == ("base", "default")


def test_from_llava_fills_a_missing_patch_size_from_the_configuration(tmp_path):
    from tiny_models import tiny_llava_config

    tiny_llava_processor("llava", patch_size=None, vision_feature_select_strategy=None).save_pretrained(tmp_path)
    tiny_llava_config("llava").save_pretrained(tmp_path)
    processor = SoundLlavaProcessor.from_llava(tmp_path, tiny_feature_extractor())
    assert (processor.patch_size, processor.vision_feature_select_strategy) == (7, "default")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ({"window": "pad30"}, "audio_config.window='pad30', but the WhisperClipFeatureExtractor has window='short'"),
        ({"window": "short", "num_mel_bins": 128}, "audio_config.num_mel_bins=128, .* has feature_size=80"),
    ],
)
def test_from_llava_refuses_features_that_the_encoder_does_not_take(audio, message):
    config = {"audio_config": {"model_type": "whisper_clip", **audio}}
    with pytest.raises(ValueError, match=message):
        SoundLlavaProcessor.from_llava(tiny_llava_processor("llava"), tiny_feature_extractor(), sound_config=config)


def test_from_llava_refuses_other_models(tmp_path):
    with pytest.raises(ValueError, match="WhisperClipFeatureExtractor: sound goes with LlavaProcessor"):
        SoundLlavaProcessor.from_llava(tiny_feature_extractor(), tiny_feature_extractor())
    SoundClipConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type='soundclip'"):
        SoundLlavaProcessor.from_llava(tmp_path, tiny_feature_extractor())


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sound_patches": "keep"}, "sound_patches='keep': must be one of 'zero', 'drop'"),
        ({"patch_budget_scope": "all"}, "patch_budget_scope='all': must be one of 'tile', 'image', 'base'"),
        ({"sound_select_strategy": "cls"}, "sound_select_strategy='cls': must be one of 'full', 'default'"),
        ({"vision_feature_select_strategy": "cls"}, "vision_feature_select_strategy='cls': must be one of"),
        ({"llava_variant": "llava_1.6"}, "llava_variant='llava_1.6': must be one of 'llava', 'llava_next'"),
        ({"llava_variant": "llava_next"}, "CLIPImageProcessor.* has no image_grid_pinpoints"),
        ({"sound_top_k": -1}, "sound_top_k=-1: must be an int >= 0"),
        ({"sound_top_k": True}, "sound_top_k=True: must be an int >= 0"),
        ({"sound_top_k": np.bool_(True)}, "sound_top_k=.*True.*: must be an int >= 0"),
        ({"sound_top_k": np.int64(-1)}, "sound_top_k=.*-1.*: must be an int >= 0"),
        ({"sound_top_k": 2.0}, "sound_top_k=2.0: must be an int >= 0"),
        ({"sound_top_k": np.array([3])}, "sound_top_k=.*: must be an int >= 0"),
        ({"patch_size": 0}, "patch_size=0: must be an int >= 1"),
        ({"num_additional_image_tokens": 0}, "num_additional_image_tokens=0: must be 1"),
        ({"audio_token": ""}, "audio_token=''"),
        ({"audio_token": "<image>"}, "audio_token='<image>': must be a text other than image_token"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        tiny_sound_processor("llava", **fields)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"audio": sound()}, "sound 0: .*sampling rate is missing"),
        ({"audio": sound()[:0], "sampling_rate": 16000}, "sound 0: "),
        ({"audio": np.array([0.1, np.nan] * 800), "sampling_rate": 16000}, "sound 0: .*NaN"),
        ({"audio": "nowhere.wav"}, "sound 0: nowhere.wav: no such file"),
        ({"audio": [[sound(), sound()]], "sampling_rate": 16000}, "sample 0: 2 sounds for 1 image"),
        ({"audio": None}, "sample 0: 1 <audio> in the text, but no sound"),
        ({"text": PROMPT, "audio": sound()}, "sample 0: 1 sound but 0 <audio> in the text"),
        ({"images": None, "text": "what?", "audio": sound()}, "sample 0: 1 sound but 0 <audio> in the text"),
        (
            {"images": [picture(), picture()], "audio": sound(), "sampling_rate": 16000},
            "2 images, but the prompts have 1",
        ),
        ({"images": None, "audio": sound(), "sampling_rate": 16000}, "0 images, but the prompts have 1"),
        (
            {
                "images": [[], [picture(), picture()]],
                "text": [HEARD, "<image>"],
                "audio": [[sound()], []],
            },
            r"The samples have \[0, 2\] images, but their prompts have \[1, 1\] <image>",
        ),
        ({"audio": sound(), "sampling_rate": 16000, "sound_patches": "none"}, "sound_patches='none': must be one of"),
        ({"audio": sound(), "sampling_rate": 16000, "sound_top_k": -1}, "sound_top_k=-1: must be in 0..16"),
        ({"audio": sound(), "sampling_rate": 16000, "sound_top_k": 17}, "sound_top_k=17: must be in 0..16"),
        ({"audio": sound(), "sampling_rate": 16000, "sound_top_k": 2.0}, "sound_top_k=2.0: must be an int"),
        (
            {"audio": sound(), "sampling_rate": 16000, "truncation": True, "max_length": 12},
            "sample 0: truncation to 12 tokens would leave [0-9]+ of 17 image tokens; raise max_length",
        ),
        ({"videos": ["clip.mp4"]}, "videos: pass a clip to `apply_chat_template`"),
        ({"text": [["tokens"]]}, "`text` must be a string or a list of strings"),
    ],
)
def test_bad_calls(call, message):
    processor = tiny_sound_processor("llava")
    with pytest.raises(ValueError, match=message):
        processor(**{"images": picture(), "text": HEARD, **call})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"audios": sound()}, "Unexpected argument 'audios'. Did you mean 'audio'?"),
        ({"sound_topk": 3}, "Unexpected argument 'sound_topk'. Did you mean 'sound_top_k'?"),
        ({"flavour": 3}, "Unexpected argument 'flavour'"),
        ({"text_kwargs": {"paddin": True}}, "Unexpected argument 'paddin' in text_kwargs. Did you mean 'padding'?"),
        ({"images_kwargs": {"zoom": 2}}, "Unexpected argument 'zoom' in images_kwargs"),
        ({"sound": sound()}, "Unexpected argument 'sound'. Did you mean 'audio'?"),
        ({"raw_speech": sound()}, "Unexpected argument 'raw_speech'. Did you mean 'audio'?"),
        ({"audio_kwargs": {"raw_speech": sound()}}, "Unexpected argument 'raw_speech' in audio_kwargs"),
        ({"audio_kwargs": {"sample_rate": 8}}, "'sample_rate' in audio_kwargs. Did you mean 'sampling_rate'?"),
        ({"videos_kwargs": {"frames": 2}}, "Unexpected argument 'frames' in videos_kwargs"),
        (
            {"common_kwargs": {"return_tensor": "pt"}},
            "'return_tensor' in common_kwargs. Did you mean 'return_tensors'?",
        ),
        ({"common_kwargs": "pt"}, "common_kwargs='pt': must be a dictionary"),
    ],
)
def test_unknown_arguments(call, message):
    with pytest.raises(TypeError, match=message.replace("?", r"\?")):
        tiny_sound_processor("llava")(picture(), PROMPT, **call)


@pytest.mark.parametrize("variant", VARIANTS)
def test_truncation_of_a_silent_prompt_is_refused_with_the_numbers(variant):
    with pytest.raises(ValueError, match=r"image.*ids=\[.*\] and text=\["):
        tiny_sound_processor(variant)(picture(), PROMPT, truncation=True, max_length=10)


@pytest.mark.parametrize(
    ("text", "images", "patches", "message"),
    [
        ("<audio>", None, "drop", r"there is no image whose patches it could choose, .*\(0 tokens\)"),
        ("<audio>", None, "zero", "there is no image whose patches it could choose"),
        (HEARD, picture(), "drop", r"k=0 drops every patch, .*\(0 tokens\)"),
    ],
)
def test_the_default_strategy_where_the_sound_would_not_reach_the_llm(text, images, patches, message):
    processor = tiny_sound_processor("llava", sound_select_strategy="default", sound_top_k=0)
    with pytest.raises(ValueError, match=message):
        processor(images, text, sound(), sampling_rate=SAMPLING_RATE, sound_patches=patches)


def test_views_must_be_square():
    processor = tiny_sound_processor("llava")
    with pytest.raises(ValueError, match="Views of 28x14 pixels: sound needs square ones"):
        processor(picture(), HEARD, sound(), sampling_rate=SAMPLING_RATE, crop_size={"height": 28, "width": 14})


def test_silence_is_allowed_with_a_warning():
    with pytest.warns(UserWarning, match="zero"):
        batch = tiny_sound_processor("llava")(picture(), HEARD, np.zeros(8000), sampling_rate=SAMPLING_RATE)
    assert len(batch["input_features"]) == 1


def test_sound_longer_than_a_window_is_not_cut():
    processor = tiny_sound_processor("llava")
    processor.feature_extractor = tiny_feature_extractor(chunk_length=1)
    batch = processor(picture(), HEARD, sound(2.5), sampling_rate=SAMPLING_RATE, return_tensors="pt")
    assert batch["input_features_mask"].sum(dim=-1).tolist() == [[100, 100, 50]]


def test_a_tokenizer_without_the_image_token_is_refused():
    tokenizer, parts = tiny_tokenizer(), tiny_sound_processor("llava")
    tokenizer.image_token = "<picture>"
    with pytest.raises(ValueError, match="image_token='<picture>': the tokenizer has no such token"):
        SoundLlavaProcessor(parts.image_processor, tokenizer, parts.feature_extractor)


def test_wav_bytes_of_eight_channels():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(8)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(np.random.default_rng(0).integers(0, 256, 8 * 8000, dtype=np.uint8).tobytes())
    batch = tiny_sound_processor("llava")(picture(), HEARD, buffer.getvalue(), return_tensors="pt")
    assert int(batch["input_features_mask"].sum()) == 100
