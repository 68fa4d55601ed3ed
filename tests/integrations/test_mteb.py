"""mteb's own evaluation of a dual encoder on a task of synthetic clips, against our evaluation of the same pairs."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from datasets import Sequence as Many
from mteb import TaskMetadata, evaluate
from mteb.abstasks import AbsTaskRetrieval
from mteb.models import EncoderProtocol

from soundclip_hf import SoundClipModel, SoundClipProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.data.synthetic.scenes import scene
from soundclip_hf.evaluation.retrieval import evaluate_retrieval
from soundclip_hf.integrations.mteb import SoundClipEncoder, model_meta

COUNT, RATE = 24, 16_000
# Of two silent scenes neither sound is the better one.
SCENES = [one for one in map(scene, range(30_000_000, 30_000_000 + 2 * COUNT)) if one.sources][:COUNT]
SOUND = {"array": Many(Value("float32")), "sampling_rate": Value("int32")}


def sounds():
    rows = [
        {"id": f"a{index}", "audio": {"array": one.sound, "sampling_rate": RATE}} for index, one in enumerate(SCENES)
    ]
    return Dataset.from_list(rows, features=Features({"id": Value("string"), "audio": SOUND}))


def pictures():
    rows = [{"id": f"i{index}", "image": one.picture} for index, one in enumerate(SCENES)]
    return Dataset.from_list(rows, features=Features({"id": Value("string"), "image": Image()}))


def clips():
    """A video as its frames, and its sound beside it."""
    rows = [
        {"id": f"v{index}", "video": [one.picture], "audio": {"array": one.sound, "sampling_rate": RATE}}
        for index, one in enumerate(SCENES)
    ]
    return Dataset.from_list(rows, features=Features({"id": Value("string"), "video": Many(Image()), "audio": SOUND}))


def task(category, modalities, queries, corpus):
    class Synthetic(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=f"Synthetic{category}Retrieval",
            description="Scenes of the synthetic world: which picture belongs to a sound.",
            dataset={"path": "in-memory", "revision": "1"},
            type="Any2AnyRetrieval",
            category=category,
            modalities=modalities,
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="recall_at_1",
        )

        def load_data(self, num_proc=None, **kwargs):
            one, other = queries(), corpus()
            relevant = {query: {document: 1} for query, document in zip(one["id"], other["id"])}
            split = {"corpus": other, "queries": one, "relevant_docs": relevant, "top_ranked": None}
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Synthetic()


@pytest.fixture(scope="module")
def encoder():
    return SoundClipEncoder("tiny", device="cpu", model_kwargs={"dtype": torch.float32})


@pytest.fixture(scope="module")
def embedded():
    """Sounds and pictures of the scenes, normalised, by our own calls."""
    model = SoundClipModel.from_pretrained(TINY, dtype=torch.float32)
    processor = SoundClipProcessor.from_pretrained(TINY)
    heard = processor(audio=[one.sound for one in SCENES], sampling_rate=RATE, return_tensors="pt")
    seen = processor(images=[one.picture for one in SCENES], return_tensors="pt")
    with torch.no_grad():
        found = model.get_audio_features(**heard), model.get_image_features(**seen)
    return [torch.nn.functional.normalize(one.pooler_output, dim=-1) for one in found]


def scores(model, *about):
    result = evaluate(model, task(*about), cache=None, show_progress_bar=False)
    (one,) = result.task_results[0].scores["test"]
    return one


def test_scores_are_those_of_our_own_evaluation(encoder, embedded):
    ours = evaluate_retrieval(*embedded, pool=None, sample=None)
    assert isinstance(encoder, EncoderProtocol)
    heard = scores(encoder, "a2i", ["audio", "image"], sounds, pictures)
    seen = scores(encoder, "i2a", ["image", "audio"], pictures, sounds)
    for found, direction in ((heard, ours.a2v), (seen, ours.v2a)):
        for name, value in (
            ("recall_at_1", direction.t1),
            ("recall_at_3", direction.t3),
            ("recall_at_10", direction.t10),
        ):
            assert 100 * found[name] == pytest.approx(value, abs=0.01)
    # Counted by hand: the most similar picture of each sound.
    first = (embedded[0] @ embedded[1].T).argmax(1)
    assert 100 * heard["recall_at_1"] == pytest.approx(
        100 * float((first == torch.arange(COUNT)).double().mean()), abs=0.01
    )
    assert heard["recall_at_1"] > 2 / COUNT


def test_pictures_with_their_sounds(encoder, embedded):
    heard, seen = embedded
    both = torch.nn.functional.normalize(heard + seen, dim=-1)
    batch = {
        "image": [one.picture for one in SCENES[:4]],
        "audio": [{"array": one.sound, "sampling_rate": RATE} for one in SCENES[:4]],
    }
    found = encoder.encode(
        [batch],
        task_metadata=task("a2i", ["audio", "image"], sounds, pictures).metadata,
        hf_split="test",
        hf_subset="default",
    )
    np.testing.assert_allclose(found, both[:4], rtol=0, atol=2e-6)
    assert found.dtype == np.float32
    ours = evaluate_retrieval(seen, both, pool=None, sample=None)
    result = scores(encoder, "i2va", ["image", "video", "audio"], pictures, clips)
    assert 100 * result["recall_at_1"] == pytest.approx(ours.a2v.t1, abs=0.01)


def test_texts_are_refused(encoder):
    with pytest.raises(
        ValueError, match="Synthetica2iRetrieval: its inputs are text, image; a dual encoder embeds audio"
    ):
        encoder.encode(
            [{"text": ["a"], "image": [SCENES[0].picture]}],
            task_metadata=task("a2i", ["audio", "image"], sounds, pictures).metadata,
            hf_split="test",
            hf_subset="default",
        )


def test_what_mteb_knows_of_the_model(encoder):
    meta = encoder.mteb_model_meta
    assert meta.name == "soundclip-hf/tiny"
    assert meta.loader is SoundClipEncoder
    assert meta.loader_kwargs == {"path": "tiny"}
    assert meta.n_parameters == sum(weight.numel() for weight in SoundClipModel.from_pretrained(TINY).parameters())
    assert meta.memory_usage_mb == pytest.approx(4 * meta.n_parameters / 2**20)
    assert meta.embed_dim == 128
    assert meta.modalities == ["audio", "image", "video"]
    published = model_meta("org/ears@v1", license="apache-2.0", training_datasets=set())
    assert (published.name, published.revision, published.license) == ("org/ears", "v1", "apache-2.0")
    assert published.loader_kwargs == {}
    loaded = meta.loader(meta.name, revision=None, device="cpu", **meta.loader_kwargs)
    assert loaded.mteb_model_meta.name == meta.name
