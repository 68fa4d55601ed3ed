"""Evaluation on a CUDA device gives what it gives on the CPU."""

import pytest
import torch

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.evaluation.audit import SoundLlavaSubject, audit
from soundclip_hf.evaluation.ranking import count_ranks
from soundclip_hf.evaluation.retrieval import evaluate_retrieval
from soundclip_hf.evaluation.samples import open_samples

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("tile", [None, 100])
def test_ranks_are_those_of_the_cpu(tile):
    """Rows that occur twice are ties, also between tiles."""
    generator = torch.Generator().manual_seed(0)
    audio, video = torch.randn(2, 700, 32, generator=generator)
    audio[300:350], video[300:350] = audio[:50], video[:50]
    for here, there in zip(count_ranks(audio, video), count_ranks(audio.cuda(), video.cuda(), tile=tile), strict=True):
        assert torch.equal(here.higher, there.higher.cpu())
        assert torch.equal(here.ties, there.ties.cpu())


def test_retrieval_takes_embeddings_on_the_device():
    audio = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    here = evaluate_retrieval(audio, audio.flip(1), pool=None, sample=None)
    there = evaluate_retrieval(audio.cuda(), audio.flip(1).cuda(), pool=None, sample=None)
    assert here == there


def test_the_audit_gives_the_same_verdict():
    samples = open_samples("synthetic", limit=12)
    found = []
    for device in ("cpu", "cuda"):
        model = SoundLlava.from_pretrained("tiny").to(device).eval()
        report = audit(SoundLlavaSubject(model, SoundLlavaProcessor.from_pretrained("tiny")), samples)
        found.append(report)
    here, there = (report.result.numbers() for report in found)
    assert here.keys() == there.keys()
    for name, value in here.items():
        assert there[name] == pytest.approx(value, abs=2e-2), name
