"""transformers' own processor tests, run against SoundLlavaProcessor; those that fail are listed with the reason."""

import re
import unittest
import wave

import numpy as np
import pytest
from tiny_processors import SAMPLING_RATE, picture, sound, tiny_feature_extractor, tiny_image_processor, tiny_tokenizer

from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

FAILURES = {
    "test_call_arguments_not_in_attributes": "sound_patches and sound_top_k are saved, and a call may set them",
    "test_call_arguments_not_in_processor_kwargs": "sampling_rate is an argument: arrays without one are refused",
    "test_subprocessor_defaults_3_audio": "it calls the feature extractor without a sampling rate, which is refused",
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["llava", "llava_next"])
def test_processor_tests_of_transformers(variant, tmp_path, monkeypatch):
    from shared_transformers import load

    common = load("test_processing_common")
    image_path, sound_path = tmp_path / "image.png", tmp_path / "sound.wav"
    picture().save(image_path)
    with wave.open(str(sound_path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((sound() * 2**15).astype(np.int16).tobytes())

    def local(url):
        return str(image_path if re.search(r"\.(png|jpe?g)$", url) else sound_path)

    # The tests name files of the Hub; ours stand in, so that only the sdist has to be fetched.
    monkeypatch.setattr(common, "url_to_local_path", local)
    for modality in common.MODALITY_INPUT_DATA:
        paths = [local(url) for url in common.MODALITY_INPUT_DATA[modality]]
        monkeypatch.setitem(common.MODALITY_INPUT_DATA, modality, paths)

    class Case(common.ProcessorTesterMixin, unittest.TestCase):
        processor_class = SoundLlavaProcessor

        @classmethod
        def _setup_tokenizer(cls):
            return tiny_tokenizer()

        @classmethod
        def _setup_image_processor(cls):
            return tiny_image_processor(variant)

        @classmethod
        def _setup_feature_extractor(cls):
            return tiny_feature_extractor()

        @staticmethod
        def prepare_processor_dict():
            return {"patch_size": 7, "sound_top_k": 5}

        def prepare_audio_inputs(self, batch_size=None):
            return [{"array": sound(), "sampling_rate": SAMPLING_RATE}] * (batch_size or 1)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    failed = {test.id().rpartition(".")[2]: trace for test, trace in [*result.failures, *result.errors]}
    passed = result.testsRun - len(result.skipped) - len(failed)
    assert set(failed) == set(FAILURES), "\n".join(failed[name] for name in failed if name not in FAILURES)
    assert passed >= 35
