"""transformers' own model tests, run against the dual encoder; those that fail are listed with reasons."""

import unittest
from unittest import mock

import pytest
import torch
from shared_transformers import expect_failures, load
from tiny_models import tiny_audio_config, tiny_sound_config, tiny_vision_config
from transformers.models.auto import modeling_auto

from soundclip_hf import SoundClipConfig, SoundClipModel

common = load("test_modeling_common")

pytestmark = pytest.mark.slow

FRAMES = 30
BATCH = 2


class SoundClipTester:
    batch_size = BATCH
    is_training = True
    num_hidden_layers = 2
    num_attention_heads = 4
    hidden_size = 32
    seq_length = FRAMES // 2

    def __init__(self) -> None:
        self.vision_config = {"num_hidden_layers": 2}
        self.audio_config = {"num_hidden_layers": 2}

    def get_config(self) -> SoundClipConfig:
        vision = tiny_vision_config(num_hidden_layers=2, initializer_range=0.02, initializer_factor=1.0)
        return tiny_sound_config(vision_config=vision, audio_config=tiny_audio_config(max_source_positions=FRAMES // 2))

    def prepare_config_and_inputs_for_common(self):
        inputs = {
            "input_features": common.floats_tensor([BATCH, 1, 80, FRAMES]),
            "input_features_mask": torch.ones(BATCH, 1, FRAMES, dtype=torch.long),
            "pixel_values": common.floats_tensor([BATCH, 3, 28, 28]),
        }
        return self.get_config(), inputs


class TestSoundClip(common.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (SoundClipModel,)
    test_can_init_all_missing_weights_before_2023 = True
    test_all_params_have_gradient = False  # the towers are frozen
    test_resize_embeddings = False
    has_attentions = False  # those of the towers are in their own outputs
    _is_composite = True

    def setUp(self):
        self.model_tester = SoundClipTester()
        patch = mock.patch.dict(
            modeling_auto.MODEL_MAPPING_NAMES, {SoundClipConfig.model_type: SoundClipModel.__name__}
        )
        patch.start()
        self.addCleanup(patch.stop)


expect_failures(
    TestSoundClip,
    {
        "test_hidden_states_output": "as in CLIP, hidden states are in the outputs of the towers",
        "test_retain_grad_hidden_states_attentions": "as in CLIP, hidden states are in the outputs of the towers",
        "test_model_get_set_embeddings": "a dual encoder of sound and pictures has no token embeddings",
        "test_model_weights_reload_no_missing_tied_weights": "loading is strict: an empty checkpoint is refused",
    },
)
