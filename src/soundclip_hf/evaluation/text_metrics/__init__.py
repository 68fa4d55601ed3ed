"""Metrics of captions: against reference texts, the names of sources, the picture, or the sound."""

from .bert_score import BertScorer
from .bleu import bleu
from .clap_score import ClapScorer
from .clip_score import ClipScorer
from .rouge import rouge
from .scores import MetricScore
from .source_recall import source_recall

__all__ = ["BertScorer", "ClapScorer", "ClipScorer", "MetricScore", "bleu", "rouge", "source_recall"]
