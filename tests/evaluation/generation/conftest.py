"""The bundled model as the evaluation takes it, and some of its synthetic scenes."""

import pytest

from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.generation import AnsweringModel
from soundclip_hf.evaluation.samples import Samples, open_samples
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor


@pytest.fixture(scope="session")
def answering() -> AnsweringModel:
    model = SoundLlavaForConditionalGeneration.from_pretrained(TINY).eval()
    return AnsweringModel(model, SoundLlavaProcessor.from_pretrained(TINY), "bundled/tiny", None, "whisper_clip")


@pytest.fixture(scope="session")
def scenes() -> Samples:
    return open_samples("synthetic", limit=6)
