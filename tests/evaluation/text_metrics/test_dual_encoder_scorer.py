"""CLIPScore and the CLAP score: cosines of transformers' own embeddings, empty and long captions, long sounds."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_text_models import tiny_clap, tiny_clip
from transformers import AutoProcessor, ClapModel, CLIPModel

from soundclip_hf.evaluation.text_metrics import ClapScorer, ClipScorer

SAID = ["a bell rings", "dogs", "music behind the closed door"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> str:
    return str(tiny_clap(tmp_path_factory.mktemp("clap")))


def pictures(count: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)) for _ in range(count)]


def sounds(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(length).astype(np.float32) * 0.1 for length in lengths]


def test_clip_score(clip):
    scorer = ClipScorer(clip, batch_size=2)
    score = scorer(SAID, scorer.embed_pictures(pictures()))["clipscore"]
    model, processor = CLIPModel.from_pretrained(clip).eval(), AutoProcessor.from_pretrained(clip)
    for said, picture, found in zip(SAID, pictures(), score.per_item):
        with torch.no_grad():
            output = model(**processor(text=[said], images=[picture], return_tensors="pt"))
        cosine = float((output.text_embeds * output.image_embeds).sum())
        assert found == pytest.approx(2.5 * max(cosine, 0), abs=1e-6)
    assert score.value == pytest.approx(np.mean(score.per_item))
    assert score.config["n_cut"] == 0
    assert max(score.per_item) > 0


def test_negative_cosines_count_as_zero(clip):
    scorer = ClipScorer(clip)
    embeds = scorer.embed_pictures(pictures())
    forth, back = (scorer(SAID, sign * embeds)["clipscore"].per_item for sign in (1, -1))
    assert all((one == 0) != (other == 0) for one, other in zip(forth, back))


def test_prefix(clip):
    embeds = ClipScorer(clip).embed_pictures(pictures())
    prefixed = ClipScorer(clip, prefix="A dog")(["bell", "", "car"], embeds)["clipscore"]
    plain = ClipScorer(clip)(["A dog bell", "", "A dog car"], embeds)["clipscore"]
    assert prefixed.per_item == plain.per_item
    assert prefixed.per_item[1] == 0.0


def test_captions_that_are_too_long_are_counted(clip):
    scorer = ClipScorer(clip)
    embeds = scorer.embed_pictures(pictures())
    with pytest.warns(UserWarning, match="1 of 3 captions are longer than the 12 tokens that .* reads"):
        score = scorer(["a bell", "a dog " * 6, "the dog " * 5], embeds)["clipscore"]
    assert score.config["n_cut"] == 1  # twelve words and two special tokens; the last one has ten words


def test_clap_score(clap):
    scorer = ClapScorer(clap, batch_size=2)
    heard = sounds(24000, 48000, 10000)
    score = scorer(SAID, scorer.embed_sounds(heard))["clap_score"]
    model, processor = ClapModel.from_pretrained(clap).eval(), AutoProcessor.from_pretrained(clap)
    for said, sound, found in zip(SAID, heard, score.per_item):
        inputs = processor(text=[said], audio=[sound], sampling_rate=48000, return_tensors="pt")
        with torch.no_grad():
            output = model(**inputs)
        assert found == pytest.approx(float((output.text_embeds * output.audio_embeds).sum()), abs=1e-6)
    assert scorer.sampling_rate == 48000
    assert score.value == pytest.approx(np.mean(score.per_item))


def test_an_empty_caption_fits_nothing(clap):
    scorer = ClapScorer(clap)
    score = scorer(["", "a bell"], scorer.embed_sounds(sounds(9000, 9000)))["clap_score"]
    assert score.per_item[0] == 0.0
    assert score.n == 2


def test_the_middle_of_a_long_sound_counts_every_time(clap):
    scorer = ClapScorer(clap)
    (long,) = sounds(100000)
    with pytest.warns(UserWarning, match="1 of 1 sounds are longer than the 1 s that"):
        embeds = scorer.embed_sounds([long])
    assert torch.equal(embeds, scorer.embed_sounds([long[26000:74000]]))


def test_fusion_models_embed_a_sound_the_same_way_wherever_it_stands(tmp_path):
    scorer = ClapScorer(tiny_clap(tmp_path, fusion=True))
    heard = sounds(20000, 20000, 20000, 20000)
    together = scorer.embed_sounds(heard)
    alone = torch.cat([scorer.embed_sounds([sound]) for sound in heard])
    assert torch.allclose(together, alone, atol=1e-6)


def test_bad_input(clip, clap):
    with pytest.raises(ValueError, match="is a 'clap' model, expected 'clip'"):
        ClipScorer(clap)
    with pytest.raises(ValueError, match="is a 'clip' model, expected 'clap'"):
        ClapScorer(clip)
    scorer = ClapScorer(clap)
    with pytest.raises(ValueError, match=r"sound 1 has shape \(0,\)"):
        scorer.embed_sounds([np.ones(900, np.float32), np.zeros(0, np.float32)])
    with pytest.raises(ValueError, match="0 sounds"):
        scorer.embed_sounds([])
    with pytest.raises(ValueError, match=r"2 predictions, but embeddings of shape \(1, 16\)"):
        scorer(["a", "b"], torch.ones(1, 16))
    with pytest.raises(ValueError, match="the embedding of sound 0 is not finite"):
        scorer.embed_sounds([np.full(900, np.nan, np.float32)])
