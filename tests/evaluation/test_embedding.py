"""Embeddings of samples: they are those of the model, and a file of them is continued, renewed or refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from media_files import tone, write_media
from safetensors.torch import save_file

from soundclip_hf.cli.dual_encoder import load_dual
from soundclip_hf.cli.loading import ModelChoice
from soundclip_hf.evaluation import embedding
from soundclip_hf.evaluation.embedded_samples import EmbeddedSamples, EmbeddingCache, Entry
from soundclip_hf.evaluation.embedding import embed_samples, embedding_settings, labels_of
from soundclip_hf.evaluation.samples import Samples, open_samples
from soundclip_hf.files import InUseError


@pytest.fixture(scope="module")
def dual():
    return load_dual(ModelChoice(None))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three clips with sound, two of them of one video, and one without sound."""
    folder = tmp_path_factory.mktemp("clips")
    colours = [np.full((48, 64, 3), value, np.uint8) for value in range(0, 250, 10)]
    for name, frames, loudness in (("v_01", colours, 1), ("v_02", colours[::-1], 0.3), ("w_01", colours[5:], 0.1)):
        samples = loudness * tone(1, 48000)
        write_media(folder / f"{name}.mp4", video="libx264", audio="aac", frames=frames, samples=samples)
    write_media(folder / "x_01.mp4", video="libx264", frames=colours)
    return folder


@pytest.fixture
def reads(monkeypatch):
    """Ids of the samples that were opened."""
    names = []
    original = embedding.read_sample
    monkeypatch.setattr(
        embedding, "read_sample", lambda sample, **more: names.append(sample.id) or original(sample, **more)
    )
    return names


def embed(samples, dual, path=None, frame="middle", frames=1, **more):
    """All of it, as a command does; returns the embeddings and the errors."""
    cache = EmbeddingCache(path, embedding_settings(dual, samples, frame, frames))
    try:
        outcomes = dict(embed_samples(samples, dual, cache, **more))
        found = cache.select(samples.ids)
        cache.finish()
    finally:
        cache.close()
    return found, {name: error for name, error in outcomes.items() if error is not None}


def test_embeddings_are_those_of_the_model(dual, clips, tmp_path):
    found, errors = embed(open_samples(clips), dual, tmp_path / "e.safetensors", batch_size=2)
    assert list(errors) == ["x_01"]
    assert "has no sound" in errors["x_01"]
    assert found.ids == ["v_01", "v_02", "w_01"]
    assert found.groups == ["v", "v", "w"]
    inputs = dual.processor(videos=[clips / f"{name}.mp4" for name in found.ids], return_tensors="pt")
    pictures = inputs.pop("pixel_values")
    with torch.inference_mode():
        expected = {
            "raw": dual.model.get_audio_features(**inputs, sound_alignment="raw").pooler_output,
            "projected": dual.model.get_audio_features(**inputs, sound_alignment="projected").pooler_output,
            "pictures": dual.model.get_image_features(pictures).pooler_output,
        }
    for name, values in expected.items():
        torch.testing.assert_close(getattr(found, name), values, rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["e.safetensors"]
    again = EmbeddedSamples.load(tmp_path / "e.safetensors")
    assert again.entries == found.entries
    assert torch.equal(again.encoded, found.encoded)
    assert again.settings["frame"] == "middle"


def test_means_of_frames_and_synthetic_scenes(dual, clips):
    many, _ = embed(open_samples(clips), dual, frames=2)
    one, _ = embed(open_samples(clips), dual)
    assert torch.equal(many.encoded, one.encoded)
    assert not torch.allclose(many.pictures, one.pictures, atol=1e-3)
    scenes, errors = embed(open_samples("synthetic", limit=3), dual)
    assert not errors
    assert all(entry.labels["source"] == entry.labels["audio_visual_label"].split(", ")[0] for entry in scenes.entries)


def test_a_narrow_and_a_wide_encoder():
    """DimMatch of F.2: zeros behind a narrow embedding, and a wide one is cut."""
    entries = [Entry("a", "a", ""), Entry("b", "b", "")]
    for width, row in ((2, [1.0, 1.0, 0.0]), (4, [1.0, 1.0, 1.0])):
        made = EmbeddedSamples(entries, torch.ones(2, width), torch.zeros(2, 3), torch.zeros(2, 3), {})
        assert made.raw.tolist() == [row, row]


def test_what_is_there_is_not_embedded_again(dual, clips, tmp_path, reads):
    path = tmp_path / "e.safetensors"
    shutil.copytree(clips, tmp_path / "clips")
    first, _ = embed(open_samples(tmp_path / "clips").take(2), dual, path)
    assert sorted(reads) == ["v_01", "v_02"]
    reads.clear()
    shutil.copy(clips / "w_01.mp4", tmp_path / "clips" / "v_02.mp4")
    second, errors = embed(open_samples(tmp_path / "clips"), dual, path)
    # One sample has changed, one is new, and one failed: it has another chance in every run, and is reported.
    assert sorted(reads) == ["v_02", "w_01", "x_01"]
    assert list(errors) == ["x_01"]
    assert torch.equal(second.encoded[0], first.encoded[0])
    torch.testing.assert_close(second.encoded[1], second.encoded[2])
    reads.clear()
    third, _ = embed(open_samples(tmp_path / "clips").take(1), dual, path)
    assert reads == []
    assert third.ids == ["v_01"]
    assert len(EmbeddedSamples.load(path)) == 3


def test_parts_of_a_run_that_ended_early_count(dual, clips, tmp_path, reads, monkeypatch):
    path, samples = tmp_path / "e.safetensors", open_samples(clips)
    monkeypatch.setattr(embedding, "FLUSH_FILES", 1)
    settings = embedding_settings(dual, samples, "middle", 1)
    cache = EmbeddingCache(path, settings)
    outcomes = embed_samples(samples, dual, cache, batch_size=1)
    next(outcomes)
    with pytest.raises(InUseError, match=r"e\.safetensors: another run is writing to it"):
        EmbeddingCache(path, settings)
    outcomes.close()
    cache.close()
    assert not path.exists()
    reads.clear()
    found, _ = embed(samples, dual, path)
    assert "v_01" not in reads
    assert found.ids == ["v_01", "v_02", "w_01"]
    whole, _ = embed(samples, dual)
    torch.testing.assert_close(found.pictures, whole.pictures)


def test_other_files_and_settings_are_refused(dual, clips, tmp_path):
    path, samples = tmp_path / "e.safetensors", open_samples(clips)
    embed(samples, dual, path)
    settings = embedding_settings(dual, samples, "middle", 1)
    for changed, message in (
        ({"frame": "first"}, "was made with frame='middle', now it is 'first'"),
        ({"weights": "0"}, "was made with weights="),
        ({"data": "other"}, "now it is 'other'"),
    ):
        with pytest.raises(ValueError, match=message):
            EmbeddingCache(path, settings | changed)
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    (tmp_path / "text").write_text("x")
    with pytest.raises(ValueError, match="other: holds no embeddings of samples"):
        EmbeddingCache(tmp_path / "other", settings)
    with pytest.raises(ValueError, match="text: is no readable safetensors file"):
        EmbeddingCache(tmp_path / "text", settings)
    with pytest.raises(ValueError, match="is a folder"):
        EmbeddingCache(tmp_path, settings)
    with pytest.raises(ValueError, match="no sample could be embedded"):
        EmbeddingCache(None, settings).select(["a"])


def test_a_failing_sample_costs_the_others_nothing(dual, clips, tmp_path):
    (tmp_path / "corrupt.mp4").write_bytes((clips / "v_01.mp4").read_bytes()[:2000])
    names = {"a": clips / "v_01.mp4", "b": tmp_path / "corrupt.mp4", "c": "nowhere.mp4", "d": clips / "w_01.mp4"}
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps({"id": name, "video": str(video)}) + "\n" for name, video in names.items()))
    found, errors = embed(open_samples(table), dual, batch_size=4)
    assert found.ids == ["a", "d"]
    assert list(errors) == ["b", "c"]
    assert all(error.startswith(name) for name, error in errors.items())


def test_a_row_that_cannot_be_opened_costs_itself(dual, clips):
    good = open_samples(clips)

    def get(index):
        if index == 1:
            raise KeyError("bytes")
        return good[index]

    found, errors = embed(Samples("rows", get, good.ids, good.groups, content="x"), dual)
    assert found.ids == ["v_01", "w_01"]
    assert errors["v_02"] == "v_02: KeyError: 'bytes'"


def test_labels():
    both = {"visible_active_sources": ["bell"], "invisible_active_sources": ["dog"], "audio_visual_label": "a bell"}
    assert labels_of(both) == {"source": "bell", "audio_visual_label": "a bell"}
    assert labels_of({**both, "visible_active_sources": []})["source"] == "dog"
    assert labels_of({"visible_active_sources": None, "audio_visual_label": " "}) == {}
