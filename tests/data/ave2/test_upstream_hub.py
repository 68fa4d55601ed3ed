"""The authors' form of the data set, gated on a Hub: rows with the conditions of use, or what to do."""

import json

from hub_client import client
from hub_repositories import Settings
from hub_server import serve

READ = """
import contextlib, io, json
from soundclip_hf.data import from_upstream
def attempt(*arguments, **options):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            found = [row["sample_id"] for row in from_upstream(*arguments, **options)]
        except ValueError as error:
            found = f"{type(error).__name__}: {error}"
    return found, said.getvalue()
print(json.dumps([
    attempt("org/release"),
    attempt("org/release", token="hf_bob"),
    attempt("org/release", token="hf_bob", revision="v1"),
    attempt("org/release", token="hf_bob", revision="v9"),
    attempt("org/none", token="hf_bob"),
    attempt("org/other", token="hf_bob"),
]))
"""


def row(name, segment):
    return {"youtube_id": name, "segment": f"{segment:02d}", "split": "train", "temporal_alignment_score": 8.0}


def write(folder, shards):
    (folder / "data").mkdir(parents=True)
    (folder / "dataset_infos.json").write_text("{}")
    for name, made in shards.items():
        (folder / "data" / name).write_text(json.dumps(made))
    return folder


def test_the_release_on_a_hub(tmp_path):
    old = write(tmp_path / "old", {"train_00000.json": [row("a", 1)]})
    shards = {"train_00001.json": [row("b", 1)], "train_00000.json": [row("a", 1), row("a", 2)]}
    new = write(tmp_path / "new", shards)
    with serve() as hub:
        hub.commit("datasets/org/release", old, "v1")
        hub.commit("datasets/org/release", new)
        hub.settings["datasets/org/release"] = Settings(gated="manual", granted={"bob"})
        hub.commit("datasets/org/other", write(tmp_path / "other", {}))
        denied, read, first, no_revision, no_repository, no_shards = client(
            hub.url, tmp_path / "home", READ, token=None
        )
    assert denied[0].startswith("HubAccessError: org/release: is gated; ask for access on http")
    assert read[0] == ["a_01", "a_02", "b_01"]
    assert "CC BY 4.0" in read[1]
    assert "arXiv:2506.10416" in read[1]
    assert first[0] == ["a_01"]
    assert no_revision[0].startswith("HubAccessError: org/release: has no revision 'v9'")
    assert no_repository[0].startswith("HubAccessError: org/none: no such data set, or it is private")
    assert no_shards[0] == (
        "ValueError: org/other: has no data/*.json; only the authors' form is read here, others by load_dataset"
    )
