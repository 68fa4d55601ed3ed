"""Models on a Hub that keeps large files in chunks (Xet): read from the store and without it, and pushed over cuts.

The store is one that hf_xet opens as a folder (`local://`): chunks, hashes and files are its own, its HTTP is left out.
"""

import shutil

import pytest
from cut_connections import CUT
from hub_models import adapter_model, logits, write_adapter, write_parts

pytest.importorskip("hf_xet")

ADAPTER = "soundclip_adapter.safetensors"
PUSH = """
from soundclip_hf.publishing.model_push import push_model
print(json.dumps(push_model(sys.argv[1], "org/ears").commit))
"""
LOAD = """
import soundclip_hf
from hub_models import logits
from soundclip_hf import SoundLlava
options = {"force_download": True} if sys.argv[1:] == ["again"] else {}
print(json.dumps(attempt(lambda: logits(SoundLlava.from_pretrained("org/ears", **options)))))
"""


@pytest.fixture
def store(hub, tmp_path):
    hub.xet = tmp_path / "chunks" / "store"
    hub.xet.mkdir(parents=True)
    return hub.xet


def fetched(hub):
    """How the adapter was asked for since the last time."""
    found = [method for method, path in hub.requests if path.endswith(ADAPTER)]
    tokens = [path for _, path in hub.requests if "xet-read-token" in path]
    hub.requests.clear()
    return set(found), bool(tokens)


def test_loading_from_the_store_and_without_it(hub, ask, store, tmp_path):
    write_parts(hub, tmp_path)
    ask(PUSH, write_adapter(tmp_path / "out"), xet=True)
    expected = logits(adapter_model())
    fetched(hub)
    for xet, how in ((True, ({"HEAD"}, True)), (False, ({"HEAD", "GET"}, False))):
        found = ask(LOAD, xet=xet)
        assert isinstance(found, list), found
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
        assert fetched(hub) == how


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("where", ["chunks", "cache"])
def test_a_bit_that_flipped_on_the_way(hub, ask, store, tmp_path, where):
    """Neither huggingface_hub nor hf_xet compares what it writes with the SHA-256 that it knows; the adapter does."""
    write_parts(hub, tmp_path)
    ask(PUSH, write_adapter(tmp_path / "out"), xet=True)
    whole = shutil.copytree(store, tmp_path / "whole")
    if where == "chunks":
        (chunks,) = [path for path in (store / "xet" / "xorbs" / "xorbs").iterdir() if path.suffix != ".tagset"]
        flip(chunks)
    else:
        assert isinstance(ask(LOAD, xet=True, home="one"), list)
        found = (tmp_path / "homes" / "one" / "hub" / "models--org--ears" / "snapshots").rglob(ADAPTER)
        flip(next(found).resolve())
    said = ask(LOAD, xet=True, home="one")
    assert isinstance(said, str), said
    assert f"{ADAPTER} was changed or damaged after it was saved" in said
    assert "force_download=True" in said
    shutil.rmtree(store)
    shutil.copytree(whole, store)
    assert isinstance(ask(LOAD, "again", xet=True, home="one"), list)
    assert isinstance(ask(LOAD, xet=True, home="one"), list)


@pytest.mark.slow  # as long as the same without Xet, which always runs
def test_a_connection_that_is_cut_at_any_request(hub, ask, store, tmp_path):
    """As in test_model_push_faults.py: the old content or the new one is shown, and the next push completes it."""
    write_parts(hub, tmp_path)
    old, new = write_adapter(tmp_path / "old", measured=False), write_adapter(tmp_path / "new", bias=2.0)
    told = ask(CUT, old, new, xet=True)
    hits = [one for one in told if one["hit"]]
    assert len(hits) >= 2 * 8
    failed = [one for one in hits if ":" in one["said"]]
    assert any("xet-write-token" in path for _, path in hub.requests)
    assert not any("/objects/batch" in path for _, path in hub.requests)
    for one in told:
        names = hub.revisions[one["repo"]]
        assert names["main"] == names["v2"] == one["done"]
        new_commit = hub.commits[one["done"]]
        assert new_commit.parent == one["first"]  # nothing between the old and the new
        assert new_commit.files[ADAPTER].read() == (new / ADAPTER).read_bytes()
        assert "retrieval.json" in new_commit.files
    assert len(failed) >= 8
    for one in failed:
        assert one["said"].startswith("HubAccessError: org/"), one
