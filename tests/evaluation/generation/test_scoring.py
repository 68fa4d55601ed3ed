"""Scores of caption files: right numbers with their settings, metrics that are left out, files that do not fit."""

import pytest
from PIL import Image
from tiny_text_models import tiny_bert, tiny_clap, tiny_clip

from soundclip_hf.evaluation.generation import CaptionScoring
from soundclip_hf.evaluation.generation.caption_files import CaptionFile
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.evaluation.samples import Sample, Samples, open_samples, read_sample
from soundclip_hf.evaluation.text_metrics import BertScorer, ClapScorer, ClipScorer, bleu, rouge

TEXTS = ["A dog barks.", "A bell.", "Nothing.", "a red car and a dog"]


def write(path, samples, texts=TEXTS, **settings):
    head = {
        "model": "me/model",
        "revision": "abc",
        "dataset": samples.name,
        "dataset_revision": samples.revision,
        "data": samples.identity(),
        "alignment": "raw",
        "alpha": 1.0,
        "k": 8,
        "mode": "zero",
        **settings,
    }
    file = CaptionFile(path, head)
    file.append(
        [
            {"id": one, "error": text[1]} if isinstance(text, tuple) else {"id": one, "answer": text}
            for one, text in zip(samples.ids, texts)
        ]
    )
    file.close()
    return path


def samples_of(*rows, **media):
    ids = [f"s{number}" for number in range(len(rows))]
    return Samples("mine", lambda index: Sample(ids[index], ids[index], rows[index], **media), ids, ids, content="1")


ROWS = [
    {"audio_visual_label": "a dog barks", "visible_active_sources": ["dog"]},
    {"audio_visual_label": "a bell rings", "visible_active_sources": ["bell"], "invisible_active_sources": ["dog"]},
    {"audio_visual_label": "silence", "visible_active_sources": []},
    {"video_caption": "A car.", "audio_caption": "A dog barks.", "visible_active_sources": ["dogs"]},
]
LABELS = ["a dog barks", "a bell rings", "silence", "A car. A dog barks."]


def test_numbers_and_settings(tmp_path):
    samples = samples_of(*ROWS)
    result = CaptionScoring(samples, seed=3, protocol="mine").result(write(tmp_path / "m-raw-k8-zero.jsonl", samples))
    expected = {**bleu(TEXTS, LABELS, seed=3), **rouge(TEXTS, LABELS, seed=3)}
    for name, score in expected.items():
        assert result.metrics[name] == score.value
        assert result.interval(name) == score.interval
    assert result.metrics["source_recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert (result.task, result.model, result.revision, result.n, result.seed) == (
        "generation",
        "me/model",
        "abc",
        4,
        3,
    )
    config = result.config
    assert (config["mode"], config["alignment"], config["k"], config["protocol"]) == ("zero", "raw", 8, "mine")
    assert config["references_used"] == {"audio_visual_label": 3, "video+audio": 1}
    assert config["metrics"]["source_recall"] == {"n": 3, "n_sources": 4, "n_without_sources": 1}
    assert config["metrics"]["bleu"]["signature"].startswith("nrefs:1")
    assert set(config["not_computed"]) == {"bertscore", "clipscore", "clap_score"}
    assert config["n_failed"] == 0
    result.save(tmp_path / "result.json")
    assert EvalResult.load(tmp_path / "result.json") == result


def test_samples_that_failed_are_counted_and_do_not_score(tmp_path):
    samples = samples_of(*ROWS)
    texts = [TEXTS[0], ("", "no such file"), TEXTS[2], TEXTS[3]]
    result = CaptionScoring(samples).result(write(tmp_path / "c.jsonl", samples, texts))
    assert (result.n, result.config["n_failed"]) == (3, 1)
    assert result.metrics["source_recall"] == 1.0


def test_reference_is_a_choice(tmp_path):
    samples = samples_of(*[{"video_caption": "A bell.", "audio_caption": "x"}] * 4)
    path = write(tmp_path / "c.jsonl", samples, ["A bell."] * 4)
    both = CaptionScoring(samples, metrics=["rouge"]).result(path)
    seen = CaptionScoring(samples, metrics=["rouge"], reference="video_caption").result(path)
    assert seen.metrics["rouge1"] == 1.0 > both.metrics["rouge1"]
    assert seen.config["references_hash"] != both.config["references_hash"]
    assert seen.config["not_computed"] == {}


def test_models_score_scenes(tmp_path):
    samples = open_samples("synthetic", limit=4)
    bert = BertScorer(tiny_bert(tmp_path / "bert"), layer=1)
    clip, clap = ClipScorer(tiny_clip(tmp_path / "clip", 40)), ClapScorer(tiny_clap(tmp_path / "clap", 40))
    scoring = CaptionScoring(samples, bert=bert, clip=clip, clap=clap)
    embedded = []
    inner = clip.embed_pictures
    clip.embed_pictures = lambda pictures: embedded.append(len(pictures)) or inner(pictures)
    with pytest.warns(UserWarning, match="4 of 4 sounds are longer than the 1 s"):
        result = scoring.result(write(tmp_path / "one.jsonl", samples))
    again = scoring.result(write(tmp_path / "two.jsonl", samples, TEXTS[::-1]))
    assert embedded == [4]  # once for both files
    assert set(result.metrics) >= {"bleu", "rougeL", "bertscore_f1", "clipscore", "clap_score", "source_recall"}
    assert result.config["not_computed"] == {}
    assert result.metrics["clap_score"] != again.metrics["clap_score"]
    media = [read_sample(sample, sampling_rate=clap.sampling_rate) for sample in samples]
    with pytest.warns(UserWarning, match="4 of 4 sounds are longer"):
        by_hand = clap(TEXTS, clap.embed_sounds([one.sound for one in media]))["clap_score"]
    assert result.metrics["clap_score"] == pytest.approx(by_hand.value, abs=1e-6)
    assert result.interval("clap_score") == pytest.approx(by_hand.interval, abs=1e-6)


def test_without_references_and_sources_models_are_needed(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    samples = samples_of({}, {}, {}, {}, image=str(tmp_path / "red.png"))
    with pytest.raises(
        ValueError, match=r"no metric can be computed \(bleu: the rows have no reference; .*needs a CLIP"
    ):
        CaptionScoring(samples)
    scoring = CaptionScoring(samples, clip=ClipScorer(tiny_clip(tmp_path / "clip", 40)))
    result = scoring.result(write(tmp_path / "c.jsonl", samples))
    assert set(result.metrics) == {"clipscore"}
    assert set(result.config["not_computed"]) == {"bleu", "rouge", "bertscore", "source_recall", "clap_score"}


def test_files_that_do_not_fit(tmp_path):
    samples = samples_of(*ROWS)
    scoring = CaptionScoring(samples)
    with pytest.raises(ValueError, match=r"2 of 4 samples have no caption yet; run it again"):
        scoring.result(write(tmp_path / "half.jsonl", samples, TEXTS[:2]))
    with pytest.raises(ValueError, match=r"holds captions of other data than mine \(data='x', now '"):
        scoring.result(write(tmp_path / "other.jsonl", samples, data="x"))
    with pytest.raises(ValueError, match="all 4 samples failed, the first with: s0: gone"):
        scoring.result(write(tmp_path / "failed.jsonl", samples, [("", "gone")] * 4))
    with pytest.raises(ValueError, match="all 4 predictions are empty"):
        scoring.result(write(tmp_path / "empty.jsonl", samples, [""] * 4))
    with pytest.raises(ValueError, match=r"metrics=\['meteor'\]: give some of bleu, "):
        CaptionScoring(samples, metrics=["meteor"])
