"""Embeddings on disk: whole blocks, newer entries before older ones, packing, and what a kill leaves behind."""

import pytest
import torch

from soundclip_hf.retrieval import embedding_store
from soundclip_hf.retrieval.embedding_store import (
    Block,
    EmbeddingStore,
    Entry,
    join,
    other_settings,
    read_block,
    write_block,
)

SETTINGS = {"model": "tiny", "frame": 1.5}


def block(*sources: str, value: float = 0.0, settings=SETTINGS) -> Block:
    """Clips; those whose names end with "a" are sounds alone, with "i" pictures alone."""
    entries = [Entry(name, audio=not name.endswith("i"), image=not name.endswith("a"), size=3) for name in sources]
    audio = [[ord(entry.source[0]), value] for entry in entries if entry.audio]
    image = [[-ord(entry.source[0]), value] for entry in entries if entry.image]
    return Block(
        entries, torch.tensor(audio, dtype=torch.float32).view(-1, 2), torch.tensor(image).float().view(-1, 2), settings
    )


def content(store):
    """Source to its sound and picture."""
    found = {}
    for part in store.blocks():
        for entry, audio, image in zip(part.entries, part.rows("audio"), part.rows("image")):
            found[entry.source] = (
                None if audio is None else part.audio[audio].tolist(),
                None if image is None else part.image[image].tolist(),
            )
    return found


def test_block_round_trip(tmp_path):
    written = block("x", "ya", "zi", "ü 音")
    write_block(tmp_path / "b.safetensors", written)
    found = read_block(tmp_path / "b.safetensors")
    assert found.entries == written.entries
    assert found.settings == SETTINGS
    assert torch.equal(found.audio, written.audio)
    assert torch.equal(found.image, written.image)
    assert found.rows("audio") == [0, 1, None, 2]
    assert found.rows("image") == [0, None, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]


def test_select_and_join():
    both = join([block("x", "ya"), block("zi", "w")])
    assert both.rows("image") == [0, None, 1, 2]
    part = both.select(["w", "zi", "x"])
    assert [entry.source for entry in part.entries] == ["w", "zi", "x"]
    assert part.audio[:, 0].tolist() == [ord("w"), ord("x")]
    assert part.image[:, 0].tolist() == [-ord("w"), -ord("z"), -ord("x")]
    assert both.select([]).audio.shape == (0, 2)


def test_newer_entries_count(tmp_path):
    store = EmbeddingStore(tmp_path / "idx", writing=True)
    assert store.settings is None
    store.add(block("x", "ya"))
    store.add(block("zi", "x", value=1.0))
    expected = {"ya": ([121.0, 0.0], None), "zi": (None, [-122.0, 1.0]), "x": ([120.0, 1.0], [-120.0, 1.0])}
    for found in (store, EmbeddingStore(tmp_path / "idx")):
        assert content(found) == expected
        assert found.entries.keys() == expected.keys()
        assert found.settings == SETTINGS


def test_packing(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_store, "BLOCK_FILES", 4)
    store = EmbeddingStore(tmp_path, writing=True)
    store.add(block("a", "b", "c", "d"))
    for name in "efghi":
        store.add(block(name))
    before = content(store)
    full = (tmp_path / "000000.safetensors").stat().st_ino
    store.pack()
    assert content(store) == before == content(EmbeddingStore(tmp_path))
    assert (tmp_path / "000000.safetensors").stat().st_ino == full
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    store.pack(keep=set("abdefh"))
    assert content(EmbeddingStore(tmp_path)).keys() == set("abdefh")
    store.pack(keep=set())
    assert content(EmbeddingStore(tmp_path)) == {}


def test_a_kill_while_packing(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path, writing=True)
    store.add(block("x", "y"))
    store.add(block("x", value=1.0))
    before = content(store)
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.pack()
    monkeypatch.undo()
    store.close()
    again = EmbeddingStore(tmp_path, writing=True)
    assert content(again) == before
    again.pack()
    assert content(again) == before
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_kill_while_writing(tmp_path):
    (tmp_path / ".000000.safetensors.tmp").write_bytes(b"half")
    store = EmbeddingStore(tmp_path, writing=True)
    assert store.entries == {}
    store.add(block("x"))
    assert EmbeddingStore(tmp_path).entries.keys() == {"x"}


def test_one_writer(tmp_path):
    store = EmbeddingStore(tmp_path, writing=True)
    with pytest.raises(ValueError, match=f"{tmp_path}: another process is writing to it; wait"):
        EmbeddingStore(tmp_path, writing=True)
    EmbeddingStore(tmp_path)
    store.close()
    EmbeddingStore(tmp_path, writing=True).close()


def test_other_files(tmp_path):
    (tmp_path / "000000.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        EmbeddingStore(tmp_path)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "000000.safetensors")
    with pytest.raises(ValueError, match="holds no embeddings of this program"):
        EmbeddingStore(tmp_path)


def test_other_settings(tmp_path):
    store = EmbeddingStore(tmp_path, writing=True)
    store.add(block("x"))
    with pytest.raises(ValueError, match="made with model='tiny', now it is 'other'"):
        store.add(block("y", settings={"model": "other", "frame": 1.5}))
    assert EmbeddingStore(tmp_path).entries.keys() == {"x"}
    assert other_settings(SETTINGS, SETTINGS) is None
    assert other_settings(SETTINGS, {**SETTINGS, "model": "b"}) == "model='tiny', now it is 'b'"
