"""Batches of conversations: media and text together, lengths, packing, bad rows, workers."""

import numpy as np
import pytest
import torch
from datasets import Audio, Dataset, Features, Image, Value
from media_files import pcm_wav
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_sound_processor
from torch.utils.data import DataLoader

from soundclip_hf.training.finetuning import SoundLlavaCollator
from soundclip_hf.training.finetuning.conversations import RowError
from soundclip_hf.training.finetuning.labels import IGNORED


def row(answer="A bell.", *, image=True, audio=True, seed=0):
    return {
        "question": "What?",
        "answer": answer,
        "image": picture(seed=seed) if image else None,
        "audio": (sound(seed=seed), 16_000) if audio else None,
    }


MIXED = [
    row(),
    row("A dog that barks.", image=False),
    row("Yes.", audio=False, seed=1),
    row("No.", image=False, audio=False),
]


@pytest.fixture(scope="module")
def processor():
    return tiny_sound_processor("llava")


@pytest.fixture(scope="module")
def model():
    return tiny_sound_llava("llava").eval()


def losses(model, batch):
    """The sum of the losses of all tokens, and their number."""
    with torch.no_grad():
        logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
    labels = batch["labels"][:, 1:]
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return float(each), int((labels != IGNORED).sum())


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_the_loss_of_a_batch_is_the_mean_over_its_rows_tokens(processor, model, padding_side):
    collator = SoundLlavaCollator(processor, padding_side=padding_side)
    alone = [losses(model, collator([one])) for one in MIXED]
    batch = collator(MIXED)
    with torch.no_grad():
        loss = float(model(**batch).loss)
    assert loss == pytest.approx(sum(one for one, _ in alone) / sum(count for _, count in alone), abs=1e-5)


def test_a_packed_batch_has_the_loss_of_a_padded_one(processor, model):
    packed = SoundLlavaCollator(processor, packing=True)(MIXED)
    assert packed["input_ids"].shape[0] == 1
    assert (packed["position_ids"] == 0).sum() == len(MIXED)
    assert "attention_mask" not in packed
    padded = SoundLlavaCollator(processor)(MIXED)
    together, separate = losses(model, packed), losses(model, padded)
    assert together[1] == separate[1]
    assert together[0] == pytest.approx(separate[0], abs=1e-3)


def test_a_packed_row_does_not_see_the_row_before(processor, model):
    collator = SoundLlavaCollator(processor, packing=True)
    one, other = row("A.", image=False, audio=False), row("B.", image=False, audio=False)
    logits = [model(**collator([first, one])).logits[0, -5:] for first in (other, row("Z.", image=False, audio=False))]
    torch.testing.assert_close(*logits)


def test_an_answer_cut_from_the_end(processor):
    whole = SoundLlavaCollator(processor)([row("A bell.")])
    length = whole["input_ids"].shape[1]
    cut = SoundLlavaCollator(processor, max_length=length - 2)([row("A bell.")])
    assert torch.equal(cut["input_ids"], whole["input_ids"][:, :-2])
    assert torch.equal(cut["labels"], whole["labels"][:, :-2])
    assert torch.equal(cut["pixel_values"], whole["pixel_values"])


@pytest.mark.parametrize("audio", [True, False])
def test_media_are_never_cut(processor, audio):
    tokens = 16 + audio  # 16 patches, and the sound
    with pytest.raises(RowError, match=f"row 0: its {tokens} tokens of media .* max_length=20"):
        SoundLlavaCollator(processor, max_length=20)([row(audio=audio)])


def test_a_row_that_would_teach_nothing_is_refused(processor):
    with pytest.raises(RowError, match="nothing is left of its answers after max_length=30"):
        SoundLlavaCollator(processor, max_length=30)([row()])


def test_bad_rows_are_left_out_as_long_as_they_are_few(processor, tmp_path, caplog):
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but not a sound")
    broken = {**row(), "audio": str(tmp_path / "broken.wav"), "row": 41}
    collator = SoundLlavaCollator(processor, max_bad_rows=1)
    batch = collator([MIXED[0], broken])
    assert torch.equal(batch["input_ids"], SoundLlavaCollator(processor)(MIXED[:1])["input_ids"])
    assert "row 41 is left out" in caplog.text
    assert "broken.wav" in caplog.text
    with pytest.raises(RowError, match=r"row 41: .*broken\.wav"):
        collator([broken])


def test_rows_that_are_too_long_count_as_bad_rows(processor):
    collator = SoundLlavaCollator(processor, max_bad_rows=1, max_length=60)
    batch = collator([row("A."), row("A. " * 3, image=False), {**row(), "images": None, "image": [picture()] * 4}])
    assert len(batch["input_ids"]) == 2
    assert batch["pixel_values"].shape[0] == 1
    assert batch["sound_slots"].tolist() == [[0, 0], [-1, 1]]


def test_silence_is_learned_from_without_a_warning(processor, recwarn):
    batch = SoundLlavaCollator(processor)([{**row(), "audio": (np.zeros(8000, np.float32), 16_000)}])
    assert batch["sound_slots"].tolist() == [[0, 0]]
    assert not [warning for warning in recwarn if "sound" in str(warning.message)]


def test_a_batch_without_a_good_row_is_an_error(processor):
    with pytest.raises(RowError, match="no row of a batch"):
        SoundLlavaCollator(processor, max_bad_rows=9)([{"text": "no conversation"}])


def test_several_sounds_and_silent_images(processor):
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "image"},
                {"type": "audio", "audio": None},
                {"type": "audio", "audio": (sound(), 16_000)},
            ],
        },
        {"role": "assistant", "content": "The second."},
    ]
    batch = SoundLlavaCollator(processor)([MIXED[0], {"messages": messages, "images": [picture(), picture(seed=2)]}])
    assert batch["sound_slots"].tolist() == [[0, 0], [1, -1], [2, 1]]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_in_workers(processor, workers, streaming, tmp_path):
    """Files in columns of type Audio and Image, read by a loader's processes."""
    rows = []
    for index in range(4):
        picture(seed=index).save(tmp_path / f"{index}.png")
        audio = {"bytes": pcm_wav(sound(seed=index)[:, None], 16_000), "path": None}
        rows.append({"question": "What?", "answer": "A bell.", "audio": audio, "image": str(tmp_path / f"{index}.png")})
    text, stored = Value("string"), {"bytes": Value("binary"), "path": Value("string")}
    features = Features({"question": text, "answer": text, "audio": stored, "image": Image()})
    dataset = Dataset.from_list(rows, features=features).cast_column("audio", Audio(decode=False))
    source = dataset.to_iterable_dataset(num_shards=2) if streaming else dataset
    loader = DataLoader(source, batch_size=2, num_workers=workers, collate_fn=SoundLlavaCollator(processor))
    batches = list(loader)
    assert sum(len(batch["input_ids"]) for batch in batches) == 4
    direct = SoundLlavaCollator(processor)([row(seed=index) for index in range(2)])
    assert torch.equal(batches[0]["pixel_values"], direct["pixel_values"])
    assert torch.equal(batches[0]["input_features"], direct["input_features"])


@pytest.mark.parametrize("options", [{"max_length": 0}, {"padding_side": "middle"}])
def test_impossible_settings(processor, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SoundLlavaCollator(processor, **options)


def test_rows_may_bring_the_embeddings_of_their_sounds(processor):
    collator = SoundLlavaCollator(processor)
    plain = collator([row(), row(image=False, audio=False)])
    # As many numbers as a row has tokens, and as many sounds as rows: they are still no tokens.
    wide = torch.randn(2, plain["input_ids"].shape[1], generator=torch.Generator().manual_seed(0))
    two = row() | {"image": [picture(), picture()], "audio": ["closed.wav", "closed.wav"]}
    batch = collator([{**row(), "audio": "closed.wav", "sound_embeds": wide[:1]}, row(image=False, audio=False)])
    assert torch.equal(batch["sound_embeds"], wide[:1])
    assert "input_features" not in batch
    for name in ("input_ids", "labels", "sound_slots", "pixel_values"):
        assert torch.equal(batch[name], plain[name])
    length = collator([{**two, "sound_embeds": wide}])["input_ids"].shape[1]
    wide = torch.randn(2, length, generator=torch.Generator().manual_seed(1))
    batch = collator([{**two, "sound_embeds": wide.tolist()}, row(image=False, audio=False)])
    torch.testing.assert_close(batch["sound_embeds"], wide)
    with pytest.raises(RowError, match=r"row 0: it has 1 sound\(s\), and 2 in its column 'sound_embeds'"):
        collator([{**row(), "sound_embeds": wide}])


def test_a_batch_has_embeddings_of_all_its_sounds_or_of_none(processor):
    rows = [{**row(), "sound_embeds": torch.zeros(1, 8)}, row(), row(audio=False)]
    with pytest.raises(RowError, match="row 1: its sounds have no 'sound_embeds', and those of other rows"):
        SoundLlavaCollator(processor)(rows)
    batch = SoundLlavaCollator(processor, max_bad_rows=1)(rows)
    assert len(batch["input_ids"]) == 2
