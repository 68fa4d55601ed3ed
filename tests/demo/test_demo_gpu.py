"""What the page answers, shows and finds with a model on a CUDA device is what it does on the CPU."""

import re

import numpy as np
import pytest
import torch

from soundclip_hf.cli.dual_encoder import load_dual
from soundclip_hf.cli.loading import ModelChoice, load
from soundclip_hf.demo.desk import ANY_OTHER, CLIP, SOUND_TO_FRAMES, Choices, Desk, Media
from soundclip_hf.demo.examples import write_examples
from soundclip_hf.demo.searching import embed_examples

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
QUESTION = "Describe what you see and hear."
CHOICES = Choices(top_k=16, alignment="projected", alpha=0.0, patches="zero")


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """Convolutions would be in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def desks(example_folder):
    """With the model on the CPU and on the GPU. It is stored in bfloat16, whose rounding differs between the two."""
    examples = write_examples(example_folder)
    choices = [ModelChoice(None, device=device, dtype="float32") for device in ("cpu", "cuda")]
    return [Desk(load(one), embed_examples(load_dual(one), examples, example_folder), examples) for one in choices]


@pytest.fixture(params=["clock", "frog", "piano"])
def media(request, example_folder):
    return Media(CLIP, clip=str(example_folder / f"{request.param}.mp4"))


def test_an_answer_grows_to_that_of_the_cpu(desks, media):
    assert [one.answering.model.device.type for one in desks] == ["cpu", "cuda"]
    here, there = (list(one.answer(media, QUESTION, CHOICES)) for one in desks)
    assert here[-1] == there[-1]
    assert len(there) >= len(there[-1][0].split())


def test_the_same_patches_are_shown(desks, media):
    here, there = (one.view(media, CHOICES) for one in desks)
    assert here[2] == there[2]
    # Similarities may differ by rounding, which may move a colour by one step.
    difference = np.abs(np.asarray(here[1], dtype=int) - np.asarray(there[1], dtype=int))
    assert difference.max() <= 2


def test_it_hears_the_same(desks, media):
    tables = [one.hear(media, QUESTION, CHOICES, ANY_OTHER, None) for one in desks]
    words = [re.sub(r"\d+ %", "", table) for table in tables]
    shares = [[int(share) for share in re.findall(r"(\d+) %", table)] for table in tables]
    assert words[0] == words[1]
    assert shares[0] == pytest.approx(shares[1], abs=1)
    assert shares[0]


def test_the_same_matches_are_found(desks, media):
    here, there = (one.library.search(media.clip, "audio", 8) for one in desks)
    assert [one.name for one in here] == [one.name for one in there]
    assert [one.score for one in here] == pytest.approx([one.score for one in there], abs=1e-4)
    assert media.clip.rsplit("/", 1)[1] in desks[1].search(media, SOUND_TO_FRAMES, 8)
