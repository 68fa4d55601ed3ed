"""Matches name the files that hold the vectors, over blocks in which not every file has both kinds."""

import torch

from soundclip_hf.retrieval.embedding_store import Block, Entry
from soundclip_hf.retrieval.matching import matches


def test_rows_of_vectors_are_files():
    first = Block(
        [Entry("sound.wav", audio=True, image=False), Entry("clip.mp4", audio=True, image=True)],
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([[0.6, 0.8]]),
        {},
    )
    second = Block([Entry("picture.png", audio=False, image=True)], torch.empty(0, 2), torch.tensor([[1.0, 0.0]]), {})
    query = torch.tensor([2.0, 0.0])
    found = [(match.entry.source, round(match.score, 6)) for match in matches(query, [first, second], "image", 5)]
    assert found == [("picture.png", 1.0), ("clip.mp4", 0.6)]
    (best,) = matches(query, [first, second], "audio", 1)
    assert best.entry.source == "sound.wav"
