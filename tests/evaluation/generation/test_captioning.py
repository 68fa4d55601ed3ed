"""Captions under the cells of a grid: equal to the whole path, read once, continued after a kill, failures kept."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from media_files import pcm_wav
from PIL import Image
from tiny_models import VARIANTS, tiny_sound_llava
from tiny_processors import SAMPLING_RATE, picture, sound, tiny_sound_processor

from soundclip_hf.bundled import CLIP
from soundclip_hf.evaluation.generation import (
    AnsweringModel,
    Asked,
    Cell,
    captioning,
    generate_captions,
    grid,
    read_captions,
)
from soundclip_hf.evaluation.generation.answering import embed_sounds, generate_answers, prepare, question_about
from soundclip_hf.evaluation.samples import Sample, Samples, open_samples, read_sample

SHORT = Asked(max_new_tokens=12)


def files_of(runs):
    return {run.path.stem: read_captions(run.path) for run in runs}


def test_captions_equal_those_of_the_whole_path(answering, scenes, tmp_path):
    """With sounds that are encoded once for all cells, every cell says what it says alone."""
    cells = grid(["raw", "projected"], [0.5], [4, 16], ["zero", "drop"])
    runs = generate_captions(scenes, cells, answering, tmp_path, SHORT, batch_size=4)
    rate = answering.processor.feature_extractor.sampling_rate
    media = [read_sample(sample, sampling_rate=rate) for sample in scenes]
    conversations = [question_about(SHORT.question, one.picture, one.sound, rate) for one in media]
    different = set()
    for cell, run in zip(cells, runs, strict=True):
        settings = cell.answer_settings(12, 0.0, 0)
        expected = []
        for part in (conversations[:4], conversations[4:]):
            expected += generate_answers(prepare(part, settings, answering), settings, answering)
        texts = read_captions(run.path).texts
        assert [*texts] == scenes.ids
        assert [*texts.values()] == [answer.text for answer in expected]
        assert (run.captioned, run.skipped, run.failed) == (6, 0, 0)
        different.add(tuple(texts.values()))
    assert len(different) > 3  # the cells do differ


@pytest.mark.parametrize("variant", VARIANTS)
def test_pictures_of_several_sizes_in_both_variants(variant, tmp_path):
    model, processor = tiny_sound_llava(variant), tiny_sound_processor(variant)
    answering = AnsweringModel(model, processor, "random", None, "whisper_clip")
    for number, (height, width) in enumerate([(40, 60), (60, 40), (90, 30)]):
        picture(height, width, seed=number).save(tmp_path / f"{number}.png")
        waveform = (20000 * sound(0.3 + 0.2 * number, seed=number)[:, None]).astype(np.int16)
        (tmp_path / f"{number}.wav").write_bytes(pcm_wav(waveform, SAMPLING_RATE))
    ids = ["0", "1", "2"]
    samples = Samples(
        "mine", lambda n: Sample(ids[n], ids[n], audio=f"{tmp_path}/{n}.wav", image=f"{tmp_path}/{n}.png"), ids, ids
    )
    media = [read_sample(sample, sampling_rate=processor.feature_extractor.sampling_rate) for sample in samples]
    conversations = [question_about("?", one.picture, one.sound, one.sampling_rate) for one in media]
    cells = grid(["raw"], [0.5], [2, 9], ["zero", "drop"])
    for cell, run in zip(cells, generate_captions(samples, cells, answering, tmp_path, replace(SHORT, question="?"))):
        settings = cell.answer_settings(12, 0.0, 0)
        expected = generate_answers(prepare(conversations, settings, answering), settings, answering)
        assert [*read_captions(run.path).texts.values()] == [answer.text for answer in expected]


def test_embeddings_that_are_reused_give_the_same_aligned_sound_bit_for_bit(answering, scenes):
    media = [read_sample(sample, sampling_rate=16000) for sample in scenes]
    conversations = [question_about("?", one.picture, one.sound, 16000) for one in media]
    inputs = prepare(conversations, Cell(0.0, 8).answer_settings(1, 0.0, 0), answering)
    embeds = embed_sounds(inputs, answering)
    given = {name: inputs[name] for name in ("input_features", "input_features_mask") if name in inputs}
    for alignment, alpha in (("raw", None), ("projected", 0.0), ("projected", 0.25)):
        with torch.no_grad():
            whole = answering.model.get_audio_features(**given, sound_alignment=alignment, sound_alpha=alpha)
            assert torch.equal(whole.pooler_output, answering.model.model.align_sounds(embeds, alignment, alpha))


def test_media_are_read_and_sounds_encoded_once_for_all_cells(answering, scenes, tmp_path, monkeypatch):
    read, encoded = [], []
    monkeypatch.setattr(
        captioning, "read_sample", lambda sample, **how: read.append(sample.id) or read_sample(sample, **how)
    )
    tower = answering.model.model.audio_tower
    hook = tower.register_forward_hook(lambda module, args, output: encoded.append(len(output.pooler_output)))
    try:
        generate_captions(scenes, grid(["raw", "projected"], [], [4, 8]), answering, tmp_path, SHORT, batch_size=4)
    finally:
        hook.remove()
    assert sorted(read) == scenes.ids
    assert encoded == [4, 2]


def test_the_size_of_batches_does_not_matter(answering, scenes, tmp_path):
    cells = grid(["projected"], [], [8], ["zero", "drop"])
    one = generate_captions(scenes, cells, answering, tmp_path / "one", batch_size=1)
    six = generate_captions(scenes, cells, answering, tmp_path / "six", batch_size=6)
    assert files_of(one) == files_of(six)


def test_a_second_run_does_nothing_twice(answering, scenes, tmp_path):
    steps = []
    cells = [Cell(0.0, 8)]
    (first,) = generate_captions(scenes[:3], cells, answering, tmp_path, SHORT, advance=steps.append)
    before = first.path.read_bytes()
    (again,) = generate_captions(scenes[:3], cells, answering, tmp_path, SHORT, advance=steps.append)
    assert (again.captioned, again.skipped, again.failed) == (0, 3, 0)
    assert first.path.read_bytes() == before
    assert sum(steps) == 6


RUN = """
import sys
from pathlib import Path
import torch
from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.generation import AnsweringModel, Cell, generate_captions
from soundclip_hf.evaluation.samples import open_samples
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor
torch.set_num_threads(1)
model = SoundLlavaForConditionalGeneration.from_pretrained(TINY).eval()
answering = AnsweringModel(model, SoundLlavaProcessor.from_pretrained(TINY), "bundled/tiny", None, "whisper_clip")
generate_captions(
    open_samples("synthetic", limit=200), [Cell(0.0, 8), Cell(1.0, 8)], answering, Path(sys.argv[1]), batch_size=2,
    advance=lambda steps: print(steps, flush=True),
)
"""


def test_a_run_that_was_killed_goes_on(answering, tmp_path):
    """What it had reported is on disk, and the next run does what is missing, in order and nothing twice."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    reported = 0
    for line in process.stdout:
        reported += int(line)
        if reported >= 10:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    paths = sorted((tmp_path / "captions").glob("*.jsonl"))
    assert len(paths) == 2
    before = [path.read_bytes() for path in paths]
    kept = [read_captions(path).texts for path in paths]
    assert reported <= sum(map(len, kept)) < 400
    # As if the machine had stopped while a line was written.
    paths[0].write_bytes(before[0] + b'{"id": "synthetic-1')
    samples = open_samples("synthetic", limit=200)
    assert all([*texts] == samples.ids[: len(texts)] for texts in kept)
    batches = []
    rest = _stop_after(answering, 3, batches)
    with pytest.raises(KeyboardInterrupt):
        generate_captions(samples, [Cell(0.0, 8), Cell(1.0, 8)], rest, tmp_path, batch_size=2)
    for path, text, done in zip(paths, before, kept):
        assert path.read_bytes().startswith(text)
        ids = [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
        assert ids == samples.ids[: len(ids)]  # nothing twice, nothing left out
        assert len(ids) > len(done)


def _stop_after(answering, batches, seen):
    """The same model, whose user presses Ctrl-C after some batches."""

    class Interrupted:
        def __getattr__(self, name):
            return getattr(answering.model, name)

        def generate(self, *args, **kwargs):
            if len(seen) == batches:
                raise KeyboardInterrupt
            seen.append(1)
            return answering.model.generate(*args, **kwargs)

    return replace(answering, model=Interrupted())


def test_samples_that_fail_are_rows_and_are_tried_again(answering, tmp_path):
    shutil.copy(CLIP, tmp_path / "good.mp4")
    Image.new("RGB", (40, 40)).save(tmp_path / "picture.png")
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    media = {
        "good": {"video": str(tmp_path / "good.mp4")},
        "missing": {"video": str(tmp_path / "later.mp4")},
        "broken": {"video": str(tmp_path / "broken.mp4")},
        "silent": {"image": str(tmp_path / "picture.png")},
        "also good": {"video": str(tmp_path / "good.mp4")},
    }
    ids = [*media]
    samples = Samples(
        "mine", lambda index: Sample(ids[index], ids[index], {}, **media[ids[index]]), ids, ids, content="1"
    )
    cells = [Cell(0.0, 8), Cell(1.0, 8)]
    runs = generate_captions(samples, cells, answering, tmp_path, SHORT)
    for run, captions in zip(runs, files_of(runs).values()):
        assert (run.captioned, run.failed) == (2, 3)
        assert [*captions.texts] == ["good", "also good"]
        assert captions.errors["silent"] == "silent: has no sound"
        assert "later.mp4" in captions.errors["missing"]
        assert "broken.mp4" in captions.errors["broken"]
    shutil.copy(CLIP, tmp_path / "later.mp4")
    runs = generate_captions(samples, cells, answering, tmp_path, SHORT)
    for run, captions in zip(runs, files_of(runs).values()):
        assert (run.captioned, run.skipped, run.failed) == (1, 2, 2)
        assert captions.texts["missing"] == captions.texts["good"]


def test_other_runs_are_refused_with_both_values(answering, scenes, tmp_path):
    cells = [Cell(0.0, 8)]
    generate_captions(scenes[:1], cells, answering, tmp_path, SHORT)
    with pytest.raises(ValueError, match=r"question='Describe what you see and hear.', now it is 'What\?'"):
        generate_captions(scenes[:1], cells, answering, tmp_path, replace(SHORT, question="What?"))
    with pytest.raises(ValueError, match=r"was made with data='.*', now it is '"):
        generate_captions(scenes[:2], cells, answering, tmp_path, SHORT)
    with pytest.raises(ValueError, match="revision=None, now it is 'abc'"):
        generate_captions(scenes[:1], cells, replace(answering, revision="abc"), tmp_path, SHORT)
    projector = answering.model.model.audio_projection.fc1.bias
    with torch.no_grad():
        projector[0] += 1
    try:
        with pytest.raises(ValueError, match="was made with weights="):
            generate_captions(scenes[:1], cells, answering, tmp_path, SHORT)
    finally:
        with torch.no_grad():
            projector[0] -= 1


def test_bad_settings(answering, scenes, tmp_path):
    with pytest.raises(ValueError, match=r"top_k=65: the pictures of bundled/tiny have 64 patches; give 0\.\.64"):
        generate_captions(scenes, [Cell(0.0, 8), Cell(0.0, 65)], answering, tmp_path)
    with pytest.raises(ValueError, match="batch_size=0"):
        generate_captions(scenes, [Cell(0.0, 8)], answering, tmp_path, batch_size=0)
    assert not (tmp_path / "captions").exists()
