"""A tiny configuration and feature extractor of every audio encoder."""

from tiny_models import tiny_audio_config

from soundclip_hf.modeling.audio_encoders.audioclip.configuration_audioclip import AudioClipConfig
from soundclip_hf.modeling.audio_encoders.audioclip.feature_extraction_audioclip import AudioClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.clap.configuration_clap import SoundClapConfig
from soundclip_hf.modeling.audio_encoders.clap.feature_extraction_clap import SoundClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from soundclip_hf.modeling.audio_encoders.imagebind.feature_extraction_imagebind import ImageBindFeatureExtractor
from soundclip_hf.modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from soundclip_hf.modeling.audio_encoders.msclap.feature_extraction_msclap import MsClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.peav.configuration_peav import PeAvAudioConfig
from soundclip_hf.modeling.audio_encoders.peav.feature_extraction_peav import PeAvFeatureExtractor
from soundclip_hf.modeling.audio_encoders.wav2clip.configuration_wav2clip import Wav2ClipConfig
from soundclip_hf.modeling.audio_encoders.wav2clip.feature_extraction_wav2clip import Wav2ClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor

HTSAT = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
    "depths": [1, 1],
    "num_attention_heads": [2, 4],
    "patch_embeds_hidden_size": 8,
    "hidden_size": 16,
    "projection_dim": 24,
    "initializer_factor": 10.0,
}
DAC = {"downsampling_ratios": [2, 8, 10, 12], "encoder_hidden_size": 2, "codebook_dim": 8, "hidden_size": 8}
TRANSFORMER = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}

# d_a is below, at or above the tiny vision tower's width of 32.
ENCODERS = {
    "whisperclip": (tiny_audio_config(), WhisperClipFeatureExtractor(window="short")),
    "whisper": (tiny_audio_config(layer_fusion="final"), WhisperClipFeatureExtractor(window="short")),
    "clap": (SoundClapConfig(**HTSAT), SoundClapFeatureExtractor(feature_size=16, max_length_s=1)),
    "msclap": (
        MsClapConfig(**{**HTSAT, "projection_dim": 40}),
        MsClapFeatureExtractor(feature_size=16, max_length_s=1),
    ),
    "peav": (
        PeAvAudioConfig(**TRANSFORMER, intermediate_size=32, head_dim=12, dac_config=DAC, projection_dim=32),
        PeAvFeatureExtractor(),
    ),
    "imagebind": (
        ImageBindAudioConfig(**TRANSFORMER, intermediate_size=32, projection_dim=40),
        ImageBindFeatureExtractor(),
    ),
    "audioclip": (
        AudioClipConfig(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), cardinality=2, base_width=32, projection_dim=24),
        AudioClipFeatureExtractor(),
    ),
    "wav2clip": (Wav2ClipConfig(channels=[4, 8, 8, 16], projection_dim=24), Wav2ClipFeatureExtractor()),
}
