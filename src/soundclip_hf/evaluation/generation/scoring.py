"""Scores of captions, from their files and what the rows, pictures and sounds of the samples say."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..results import EvalResult
from ..samples import Samples, read_sample
from ..text_metrics import BertScorer, ClapScorer, ClipScorer, MetricScore, bleu, rouge, source_recall
from .caption_files import Captions, read_captions
from .references import AUTO, find_references, sources_of

# Metric -> what it needs.
METRICS = {
    "bleu": "a reference",
    "rouge": "a reference",
    "bertscore": "a reference and a text encoder (bertscore_model)",
    "clipscore": "a CLIP (clip)",
    "source_recall": "names of sources",
    "clap_score": "a CLAP (clap)",
}
_WITH_REFERENCE = ("bleu", "rouge", "bertscore")
_BATCH = 32
_ANY_RATE = 16000  # of sounds that nobody hears


class CaptionScoring:
    """
    Scores the caption files of one data set.

    Args:
        samples: Those that were captioned.
        metrics: Names of `METRICS`.
        reference: See `references.reference_of`.
        bert, clip, clap: The models of three metrics; a metric without its model is not computed.
        frame: Which frame of a clip CLIP sees.
        seed: Of the bootstrap.
        protocol: A name for `config`, such as "icassp2027".

    Attributes:
        metrics: Those that will be computed.
        not_computed: Why the others will not be.

    Raises:
        ValueError: If a metric or reference is unknown, rows lack the reference, or no metric can be computed.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        metrics: Sequence[str] = tuple(METRICS),
        reference: str = AUTO,
        bert: BertScorer | None = None,
        clip: ClipScorer | None = None,
        clap: ClapScorer | None = None,
        frame: str | float = "middle",
        seed: int = 0,
        protocol: str | None = None,
    ) -> None:
        check_metrics(metrics)
        self.samples, self.frame, self.seed, self.protocol = samples, frame, seed, protocol
        self.bert, self.clip, self.clap = bert, clip, clap
        self.reference = reference
        self.places = {one: place for place, one in enumerate(samples.ids)}
        rows = [sample.row for sample in samples]
        self.references: list[str] = []
        self.references_used: dict[str, int] = {}
        if set(metrics) & set(_WITH_REFERENCE):
            self.references, self.references_used = find_references(samples, rows, reference)
        self.sources = [sources_of(row) for row in rows]
        self.not_computed = {name: why for name in metrics if (why := self._obstacle(name)) is not None}
        self.metrics = tuple(name for name in metrics if name not in self.not_computed)
        if not self.metrics:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.not_computed.items())
            raise ValueError(f"{samples.name}: no metric can be computed ({reasons})")
        self._pictures: dict[str, Tensor] = {}
        self._sounds: dict[str, Tensor] = {}

    def result(self, path: Path) -> EvalResult:
        """
        Score the captions of a cell. Samples that failed do not count; `config["n_failed"]` is their number.

        Returns:
            A result of the task "generation", with a 95 % interval for each number.

        Raises:
            ValueError: If the file is of other data or not finished, all samples failed, or a metric cannot be
                computed, as of captions that are all empty.
        """
        captions = read_captions(path)
        settings = self._checked(path, captions)
        ids = [one for one in self.samples.ids if one in captions.texts]
        scores = self._scores(ids, [captions.texts[one] for one in ids])
        config = {
            **{name: value for name, value in settings.items() if name not in _ELSEWHERE},
            "reference": self.reference,
            "references_used": self.references_used,
            "references_hash": sha256("\n".join(self.references).encode()).hexdigest()[:16],
            "metrics": {name: {**score.config, "n": score.n} for name, score in scores.items()},
            "not_computed": self.not_computed,
            "n_failed": len(captions.errors),
        }
        if self.protocol is not None:
            config["protocol"] = self.protocol
        return EvalResult(
            task="generation",
            model=settings["model"],
            revision=settings["revision"],
            dataset=settings["dataset"],
            dataset_revision=settings["dataset_revision"],
            n=len(ids),
            seed=self.seed,
            metrics={name: score.value for name, score in scores.items()},
            error_bars={name: list(score.interval) for name, score in scores.items() if score.interval is not None},
            config=config,
        )

    def _obstacle(self, name: str) -> str | None:
        missing = {
            "bertscore": self.bert is None,
            "clipscore": self.clip is None,
            "clap_score": self.clap is None,
            "source_recall": not any(self.sources),
        }
        if name in _WITH_REFERENCE and not self.references:
            return "the rows have no reference"
        return f"needs {METRICS[name]}" if missing.get(name) else None

    def _checked(self, path: Path, captions: Captions) -> dict[str, Any]:
        """The settings of a file whose captions are all of these samples."""
        data = self.samples.identity()
        if captions.settings.get("data") != data:
            raise ValueError(
                f"{path}: holds captions of other data than {self.samples.name} "
                f"(data={captions.settings.get('data')!r}, now {data!r})"
            )
        left = len(self.places) - len(captions.texts) - len(captions.errors)
        if left:
            raise ValueError(f"{path}: {left} of {len(self.places)} samples have no caption yet; run it again to go on")
        if not captions.texts:
            one, why = next(iter(captions.errors.items()))
            raise ValueError(f"{path}: all {len(captions.errors)} samples failed, the first with: {one}: {why}")
        return captions.settings

    def _scores(self, ids: Sequence[str], texts: Sequence[str]) -> dict[str, MetricScore]:
        references = [self.references[self.places[one]] for one in ids] if self.references else []
        sources = [self.sources[self.places[one]] for one in ids]
        self._embed_media(ids)
        compute: dict[str, Callable[[], Mapping[str, MetricScore]]] = {
            "bleu": lambda: bleu(texts, references, seed=self.seed),
            "rouge": lambda: rouge(texts, references, seed=self.seed),
            "source_recall": lambda: source_recall(texts, sources, seed=self.seed),
        }
        if self.bert is not None:
            bert = self.bert
            compute["bertscore"] = lambda: bert(texts, references, seed=self.seed)
        if self.clip is not None:
            clip = self.clip
            compute["clipscore"] = lambda: clip(texts, torch.stack([self._pictures[o] for o in ids]), seed=self.seed)
        if self.clap is not None:
            clap = self.clap
            compute["clap_score"] = lambda: clap(texts, torch.stack([self._sounds[o] for o in ids]), seed=self.seed)
        return {name: score for metric in self.metrics for name, score in compute[metric]().items()}

    def _embed_media(self, ids: Sequence[str]) -> None:
        """Embed the pictures and sounds that captions are compared with; each once for all files."""
        clip = self.clip if "clipscore" in self.metrics else None
        clap = self.clap if "clap_score" in self.metrics else None
        if clip is None and clap is None:
            return
        new = [one for one in ids if one not in self._pictures and one not in self._sounds]
        rate = _ANY_RATE if clap is None else clap.sampling_rate
        for start in range(0, len(new), _BATCH):
            part = new[start : start + _BATCH]
            media = [read_sample(self.samples[self.places[one]], sampling_rate=rate, frame=self.frame) for one in part]
            if clip is not None:
                pictures = clip.embed_pictures([one.picture for one in media if one.picture is not None])
                self._pictures.update(zip(part, pictures, strict=True))
            if clap is not None:
                sounds = clap.embed_sounds([one.sound for one in media if one.sound is not None])
                self._sounds.update(zip(part, sounds, strict=True))


# Fields of a result, which its `config` need not repeat.
_ELSEWHERE = {"model", "revision", "dataset", "dataset_revision"}


def check_metrics(metrics: Sequence[str]) -> None:
    """
    Raises:
        ValueError: If there is none, or one is unknown.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise ValueError(f"metrics={list(metrics)}: give some of {', '.join(METRICS)}")


__all__ = ["METRICS", "CaptionScoring", "check_metrics"]
