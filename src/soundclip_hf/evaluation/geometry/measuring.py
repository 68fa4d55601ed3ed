"""All measurements of geometry for the embeddings of samples, raw and projected, as one set of numbers."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from ..embedded_samples import EmbeddedSamples
from .estimates import Estimate
from .information import info_nce_bound
from .probes import label_probe, linear_predictability
from .similarity import cka

LABELS = ("source", "audio_visual_label")


def measure_geometry(
    samples: EmbeddedSamples,
    *,
    folds: int = 5,
    batch_size: int = 128,
    temperature: float | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """
    Compare sounds, raw and projected, with CLIP's `[CLS]` of their pictures.

    The labels for the probe are the sources, or the column audio_visual_label where these do not do; of both, only
    labels that at least `folds` samples have.

    Args:
        folds, batch_size, temperature: See [`linear_predictability`] and [`info_nce_bound`].
        progress: Called with 1 after each of 8 steps.

    Returns:
        `metrics`, `error_bars` and `config` for [`~results.EvalResult`]. For "raw" and "projected": `raw_cka`,
        `raw_cka_debiased`, `raw_cls_r2`, `raw_infonce_nats` and, where there are labels, `raw_probe_accuracy`; the same
        of shuffled pairs in "shuffled".

    Raises:
        ValueError: If there are too few samples, at least 8, or all embeddings are the same.
    """
    named, rows = _labels(samples, folds)
    labels = [samples.entries[row].labels[named] for row in rows] if named else []
    groups = samples.groups
    tell = progress or (lambda steps: None)
    found: dict[str, Estimate] = {}
    for name, audio in (("raw", samples.raw), ("projected", samples.projected)):
        found |= {f"{name}_{key}": estimate for key, estimate in cka(audio, samples.pictures, seed=seed).items()}
        tell(1)
        found[f"{name}_cls_r2"] = linear_predictability(audio, samples.pictures, groups=groups, folds=folds, seed=seed)
        tell(1)
        found[f"{name}_infonce_nats"] = info_nce_bound(
            audio, samples.pictures, batch_size=batch_size, temperature=temperature, seed=seed
        )
        tell(1)
        if labels:
            found[f"{name}_probe_accuracy"] = label_probe(
                audio[torch.tensor(rows)], labels, groups=[groups[row] for row in rows], folds=folds, seed=seed
            )
        tell(1)
    metrics: dict[str, Any] = {name: estimate.value for name, estimate in found.items()}
    metrics["shuffled"] = {name: estimate.shuffled for name, estimate in found.items()}
    error_bars = {"interval_95": {name: list(estimate.interval) for name, estimate in found.items()}}
    config = {
        "folds": folds,
        "labels": named,
        "labelled": len(rows),
        "chosen": {name: estimate.settings for name, estimate in found.items()},
    }
    return metrics, error_bars, config


def _labels(samples: EmbeddedSamples, folds: int) -> tuple[str | None, list[int]]:
    """The name of the labels for the probe, and the samples with one that is frequent enough."""
    for name in LABELS:
        counts = Counter(entry.labels[name] for entry in samples.entries if name in entry.labels)
        frequent = {label for label, count in counts.items() if count >= folds}
        if len(frequent) >= 2:
            return name, [row for row, entry in enumerate(samples.entries) if entry.labels.get(name) in frequent]
    return None, []


__all__ = ["measure_geometry"]
