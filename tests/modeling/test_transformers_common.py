"""transformers' own model and configuration tests, run against our classes; those that fail are listed with reasons."""

import unittest
from unittest import mock

import pytest
import torch
from shared_transformers import expect_failures, load
from tiny_inputs import Sample, build_inputs
from tiny_models import tiny_audio_config, tiny_sound_llava_config, tiny_text_config, tiny_vision_config
from transformers.models.auto import modeling_auto

from soundclip_hf.modeling.audio_encoders.modeling_base import AudioEncoderPreTrainedModel
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration, SoundLlavaModel

common = load("test_modeling_common")
ConfigTester = load("test_configuration_common").ConfigTester

pytestmark = pytest.mark.slow

KNOWN = {
    "SoundLlava": {
        "test_base_model_prefix_loads_base_weights": "loading is strict: a checkpoint without lm_head is refused",
        "test_correct_missing_keys": "loading is strict: a checkpoint without lm_head is refused",
        "test_generation_tester_mixin_inheritance": (
            "the sdist lacks tests/generation/test_utils.py, the tests it asks for; ours are in test_generation.py"
        ),
        "test_model_weights_reload_no_missing_tied_weights": (
            "a checkpoint without an audio encoder is taken for a stock LLaVA; a warning names the fresh one, not "
            "missing_keys"
        ),
    },
    "WhisperClip": {
        "test_model_get_set_embeddings": "an audio encoder has no token embeddings",
        "test_model_weights_reload_no_missing_tied_weights": "loading is strict: an empty checkpoint is refused",
    },
}

FRAMES = 30
BATCH = 2


def _sound_features(batch: int) -> dict[str, torch.Tensor]:
    features = common.floats_tensor([batch, 1, tiny_audio_config().num_mel_bins, FRAMES])
    return {"input_features": features, "input_features_mask": torch.ones(batch, 1, FRAMES, dtype=torch.long)}


class SoundLlavaTester:
    """Two prompts, each with a picture, a sound and some text."""

    batch_size = BATCH
    is_training = True
    num_hidden_layers = 2
    num_attention_heads = 4
    hidden_size = 48

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self.vision_config = {"num_hidden_layers": 2}
        self.audio_config = {"num_hidden_layers": 2}
        self.seq_length = self.prepare_config_and_inputs_for_common()[1]["input_ids"].shape[1]

    def get_config(self) -> SoundLlavaConfig:
        return tiny_sound_llava_config(
            self.variant,
            vision_config=tiny_vision_config(num_hidden_layers=2, initializer_range=0.02, initializer_factor=1.0),
            text_config=tiny_text_config(vocab_size=99, initializer_range=0.02),
        )

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        with torch.device("meta"):
            model = SoundLlavaForConditionalGeneration(self.get_config())  # a model settles fields of its configuration
        size = (28, 28)
        inputs = build_inputs(model, [Sample([(size, seed)]) for seed in range(BATCH)])
        inputs.pop("sound_embeds")
        inputs["pixel_values"] = common.floats_tensor(inputs["pixel_values"].shape)
        return config, {**inputs, **_sound_features(BATCH)}


class WhisperClipTester:
    batch_size = BATCH
    is_training = True
    num_hidden_layers = 2
    num_attention_heads = 2
    hidden_size = 24
    seq_length = FRAMES // 2

    def get_config(self) -> WhisperClipConfig:
        return tiny_audio_config(max_source_positions=FRAMES // 2)

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), _sound_features(BATCH)


class _SoundLlavaCase(common.ModelTesterMixin):
    all_model_classes = (SoundLlavaModel, SoundLlavaForConditionalGeneration)
    test_can_init_all_missing_weights_before_2023 = True
    test_all_params_have_gradient = False  # LLaVA leaves out CLIP's last layer
    skip_test_audio_features_output_shape = True  # it looks for the encoder's width in `config.audio_config` alone
    _is_composite = True
    variant: str

    def setUp(self):
        self.model_tester = SoundLlavaTester(self.variant)
        # How the tests tell models with a loss from models without one.
        names = {SoundLlavaConfig.model_type: SoundLlavaModel.__name__}
        patch = mock.patch.dict(modeling_auto.MODEL_MAPPING_NAMES, names)
        patch.start()
        self.addCleanup(patch.stop)

    def check_training_gradient_checkpointing(self, *args, **kwargs):
        # The test thaws the model only after `model.train()`, in which a frozen audio tower stays in eval mode, and it
        # looks at the first layer that can be checkpointed, which is the tower's.
        with mock.patch.object(AudioEncoderPreTrainedModel, "train", torch.nn.Module.train):
            super().check_training_gradient_checkpointing(*args, **kwargs)

    def test_config(self):
        ConfigTester(self, config_class=SoundLlavaConfig, has_text_modality=False).run_common_tests()


class TestSoundLlava15(_SoundLlavaCase, unittest.TestCase):
    variant = "llava"

    def test_reverse_loading_mapping(self):
        # One mapping of keys serves both variants, and the test wants each of its rules used: 1.5 has no newline.
        find = common.get_model_conversion_mapping

        def without_newline(*args, **kwargs):
            return [rule for rule in find(*args, **kwargs) if rule.source_patterns != ["^image_newline"]]

        with mock.patch.object(common, "get_model_conversion_mapping", without_newline):
            super().test_reverse_loading_mapping()


expect_failures(TestSoundLlava15, KNOWN["SoundLlava"])


class TestSoundLlava16(_SoundLlavaCase, unittest.TestCase):
    variant = "llava_next"
    skip_test_image_features_output_shape = True  # the tower gives a row per tile, of which an image has several


expect_failures(TestSoundLlava16, KNOWN["SoundLlava"])


class TestWhisperClip(common.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (WhisperClipModel,)
    test_can_init_all_missing_weights_before_2023 = True
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = WhisperClipTester()
        names = {WhisperClipConfig.model_type: WhisperClipModel.__name__}
        patch = mock.patch.dict(modeling_auto.MODEL_MAPPING_NAMES, names)
        patch.start()
        self.addCleanup(patch.stop)

    def test_config(self):
        ConfigTester(self, config_class=WhisperClipConfig, has_text_modality=False).run_common_tests()


expect_failures(TestWhisperClip, KNOWN["WhisperClip"])


class TestSoundClipConfig(unittest.TestCase):
    model_tester = None

    def test_config(self):
        ConfigTester(self, config_class=SoundClipConfig, has_text_modality=False).run_common_tests()
