"""From a folder to a Hub and back: uploads by hash and in chunks, versions, who may see what, and what can go wrong.

Each client is a process of its own with a home of its own: what is in a cache would be given to anybody.
"""

import hashlib

import pytest
from ave2_rows import rows
from hub_client import client
from hub_server import serve
from publishing_folder import SIZES, shards

from soundclip_hf.data.ave2.shards import read_manifest, write_shards

pytest.importorskip("datasets")

START = """
import json, sys
from soundclip_hf.data import Ave2, from_upstream, with_audio
from soundclip_hf.publishing.ave2_push import push_folder
from datasets import Video, load_dataset
def ids(found):
    return {split: [row["sample_id"] for row in part.select_columns(["sample_id"])] for split, part in found.items()}
def attempt(function):
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def on_hub(hub, revision="main"):
    return {path: hashlib.sha256(blob.read()).hexdigest() for path, blob in hub.files(REPO, revision).items()}


def in_folder(folder):
    return {shard["path"]: shard["sha256"] for shard in read_manifest(folder)["shards"]}


REPO = "datasets/org/ave2"
PUSH_AND_LOAD = """
out = []
out.append(push_folder(sys.argv[1], "org/ave2", tag="v1.0"))
out.append(push_folder(sys.argv[1], "org/ave2"))
out.append(ids(load_dataset("org/ave2")))
out.append(ids(load_dataset("org/ave2", "filtered", streaming=True)))
out.append(ids(Ave2("org/ave2").subset("filtered")))
out.append(ids(Ave2("org/ave2", revision="v1.0").subset("offscreen", media=True, streaming=True)))
media = load_dataset("org/ave2", "media", streaming=True, split="eval", revision="v1.0")
out.append([row["video"]["bytes"].hex() for row in media.cast_column("video", Video(decode=False))])
print(json.dumps(out))
"""


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_push_and_load(hub, folder, tmp_path, xet):
    given = shards(folder)
    hub.part = 20_000  # so that larger files go in parts
    if xet:
        pytest.importorskip("hf_xet")
        hub.xet = tmp_path / "chunks"
        hub.xet.mkdir()
    first, again, everything, filtered, by_class, offscreen, media = client(
        hub.url, tmp_path / "home", START + PUSH_AND_LOAD, folder, xet=xet
    )
    assert on_hub(hub).items() >= in_folder(folder).items()
    assert (first["rows"], first["sent"], first["kept"], first["tag"]) == (120, 9, 0, "v1.0")
    assert (again["sent"], again["kept"], again["removed"], again["commit"]) == (0, 9, 0, first["commit"])
    assert len(hub.uploads) == len(set(hub.uploads)) == 7
    assert bool(xet) != any(path.endswith("objects/batch") for _, path in hub.requests)
    assert sum(map(len, everything.values())) == 120
    assert everything["train"] == [row["sample_id"] for row in given if row["split"] == "train"]
    assert filtered == by_class
    assert filtered == {"train": [row["sample_id"] for row in given if (row["overall_score"] or 0) > 8]}
    wanted = [row for row in given if row["has_invisible"] and row["media_status"] == "ok"]
    assert offscreen["train"] == [row["sample_id"] for row in wanted if row["split"] == "train"]
    assert [hashlib.sha256(bytes.fromhex(clip)).hexdigest() for clip in media] == [
        row["media_sha256"] for row in given if row["split"] == "eval" and row["media_status"] == "ok"
    ]


VERSIONS = """
old, new = sys.argv[1:]
out = [push_folder(old, "org/ave2", tag="v1.0"), push_folder(new, "org/ave2", tag="v2.0")]
out.append(ids(load_dataset("org/ave2", revision="v1.0")))
out.append(ids(load_dataset("org/ave2")))
out.append(attempt(lambda: push_folder(new, "org/ave2", tag="v1.0")))
out.append(push_folder(old, "org/ave2", tag="v1.0"))
out.append(attempt(lambda: Ave2("org/ave2", revision="v9")))
out.append(push_folder(old, "org/ave2", revision="trial")["commit"])
print(json.dumps(out))
"""


def test_versions_replace_each_other_whole(hub, folder, tmp_path):
    old = shards(folder)
    new = shards(tmp_path / "new", 60, media=False)
    (tmp_path / "new" / "README.md").write_text("---\nlicense: mit\n---\n# Ours\n")
    first, second, before, after, taken, repeated, unknown, trial = client(
        hub.url, tmp_path / "home", START + VERSIONS, folder, tmp_path / "new"
    )
    assert before["train"] == [row["sample_id"] for row in old if row["split"] == "train"]
    assert after["train"] == [row["sample_id"] for row in new if row["split"] == "train"]
    assert second["removed"] == len(set(in_folder(folder)) - set(in_folder(tmp_path / "new")))
    shown = {path for path in on_hub(hub) if path.endswith(".parquet")}
    assert shown == set(in_folder(tmp_path / "new"))
    assert hub.commits[second["commit"]].parent == first["commit"]  # one commit, in which all changes
    assert hub.files(REPO)["README.md"].read() == (tmp_path / "new" / "README.md").read_bytes()
    assert taken == "ValueError: org/ave2: has a tag 'v1.0' already, on other content; give another name"
    assert (repeated["commit"], repeated["sent"], repeated["kept"]) == (first["commit"], 0, 9)  # and main is left alone
    assert unknown.startswith("HubAccessError: org/ave2: has no revision 'v9'; its branches and tags are on http")
    assert hub.revisions[REPO]["trial"] == trial
    assert on_hub(hub, "trial").items() >= in_folder(folder).items()
    assert hub.revisions[REPO]["main"] == second["commit"]


def test_a_push_that_was_stopped_goes_on(hub, folder, tmp_path):
    shards(folder)
    hub.break_after = 3
    script = START + 'print(json.dumps(attempt(lambda: push_folder(sys.argv[1], "org/ave2"))))'
    stopped = client(hub.url, tmp_path / "home", script, folder)
    assert stopped.startswith("HubAccessError: org/ave2: train-00002-of-00003.parquet could not be sent (")
    assert "the store is out of order" in stopped
    assert len(hub.uploads) == 3
    assert not [path for path in on_hub(hub) if path.endswith(".parquet")]  # nothing is shown half
    hub.break_after = None
    done = client(hub.url, tmp_path / "other home", script, folder)
    assert done["sent"] == 9
    assert len(hub.uploads) == len(set(hub.uploads)) == 7
    assert on_hub(hub).items() >= in_folder(folder).items()


WITH_BARS = f"""
import contextlib, io, os
del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
{START}
with contextlib.redirect_stderr(io.StringIO()) as said:
    failed = attempt(lambda: push_folder(sys.argv[1], "org/ave2"))
print(json.dumps([failed, said.getvalue()]))
"""


def test_a_store_of_chunks_that_does_not_answer(hub, folder, tmp_path):
    """Nothing but the error is said: no bars of huggingface_hub in a log."""
    pytest.importorskip("hf_xet")
    shards(folder, 20, media=False)
    failed, said = client(hub.url, tmp_path / "home", WITH_BARS, folder, xet=True)
    assert failed.startswith("HubAccessError: org/ave2: eval-00000-of-00001.parquet could not be sent (")
    assert failed.endswith("; push again")
    assert said == ""


ACCESS = """
import os
folder, home, *users = sys.argv[1:]
options = {"private": True} if home.endswith("private") else {"private": False, "gated": "manual"}
os.environ["HF_TOKEN"] = "hf_alice"
push_folder(folder, "org/ave2", **options)
out = {}
for user in users:
    os.environ["HF_TOKEN"] = user
    if user == "none":
        del os.environ["HF_TOKEN"]
    cache = f"{home}/{user}"
    tried = [attempt(lambda: len(load_dataset("org/ave2", cache_dir=cache)["eval"]))]
    tried.append(attempt(lambda: len(list(Ave2("org/ave2").subset(split="eval", streaming=True)))))
    tried.append(attempt(lambda: push_folder(folder, "org/ave2", tag=user)["rows"]))
    out[user] = tried
print(json.dumps(out))
"""
# In one process, who may not see comes first: nothing is in its cache then.
USERS = ("none", "hf_bob", "hf_reader", "hf_alice")


def test_private(hub, folder, tmp_path):
    shards(folder, 20, media=False)
    seen = client(hub.url, tmp_path / "home", START + ACCESS, folder, tmp_path / "private", *USERS)
    assert hub.settings[REPO].private
    for user in ("none", "hf_bob"):
        load, by_class, push = seen[user]
        assert load.startswith("DatasetNotFoundError")
        assert by_class.startswith("HubAccessError: org/ave2: no such data set, or it is private and the token may not")
        assert "`hf auth login`" in by_class
        assert push.startswith("HubAccessError: org/ave2: ")
    assert seen["hf_reader"][:2] == [4, 4]
    assert seen["hf_reader"][2].startswith("HubAccessError: org/ave2: the token may not write there")
    assert seen["hf_alice"] == [4, 4, 20]


def test_gated(hub, folder, tmp_path):
    shards(folder, 20, media=False)
    arguments = (START + ACCESS, folder, tmp_path / "gated")
    seen = client(hub.url, tmp_path / "home", *arguments, "none", "hf_bob")
    assert (hub.settings[REPO].private, hub.settings[REPO].gated) == (False, "manual")
    for load, by_class, _ in seen.values():
        assert "gated" in load
        assert by_class.startswith("HubAccessError: org/ave2: is gated; ask for access on http")
        assert by_class.endswith("then log in with `hf auth login`, or give a token")
    hub.settings[REPO].granted.add("bob")
    seen = client(hub.url, tmp_path / "other home", *arguments, "hf_bob")
    assert seen["hf_bob"][:2] == [4, 4]
    assert seen["hf_bob"][2].startswith("HubAccessError: org/ave2: the token may not write there")


def test_a_folder_that_is_not_what_its_manifest_says(hub, folder, tmp_path):
    from soundclip_hf.publishing.ave2_push import push_folder

    with pytest.raises(ValueError, match=r"manifest\.json: no such file; write the shards first"):
        push_folder(folder, "org/ave2")
    write_shards(rows(20), folder, sizes=SIZES)
    with pytest.raises(ValueError, match="gated='yes' is none of auto, manual"):
        push_folder(folder, "org/ave2", gated="yes")
    (shard,) = (folder / "data").iterdir()
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"00000-of-00001\.parquet: is not what the manifest says; write the shards"):
        push_folder(folder, "org/ave2")
    shard.unlink()
    with pytest.raises(ValueError, match=r"00000-of-00001\.parquet: is gone"):
        push_folder(folder, "org/ave2")


COMMAND = """
import json, sys
from typer.testing import CliRunner
from soundclip_hf.cli import app
def run(*arguments):
    done = CliRunner().invoke(app, ["ave2", "push", *arguments])
    return [done.exit_code, done.stdout, done.stderr]
folder = sys.argv[1]
print(json.dumps([
    run("org/ave2", "--from", folder, "--private", "--gated", "auto", "--tag", "v1.0", "--json"),
    run("org/ave2", "--from", folder),
    run("org/ave2", "--from", folder, "--tag", "v1.0"),
    run("org/ave2", "--from", folder, "--tag", "v1.0", "--title", "Other"),
    run("org/ave2", "--from", folder, "--token", "hf_wrong", "--tag", "v2.0"),
    run("org/ave2", "--from", folder, "--token", "hf_reader", "--tag", "v2.0"),
    run("other/ave2", "--from", folder),
    run("ave 2", "--from", folder),
    run("org/ave2", "--from", folder + "/none"),
    run("org/ave2", "--from", folder, "--gated", "yes"),
]))
"""


def test_the_command(hub, folder, tmp_path):
    import json

    shards(folder, 20, media=False)
    made, again, tagged, *failed = client(hub.url, tmp_path / "home", COMMAND, folder)
    assert made[0] == again[0] == tagged[0] == 0
    found = json.loads(made[1])
    assert (found["rows"], found["sent"], found["tag"]) == (20, 4, "v1.0")
    assert (hub.settings[REPO].private, hub.settings[REPO].gated) == (True, "auto")
    assert again[1].startswith(f"20 rows in {hub.url}/datasets/org/ave2: 0 files sent (0.0 MB), 4 were there")
    assert tagged[1] == again[1]
    expected = [
        (1, "has a tag 'v1.0' already, on other content"),
        (1, "cannot be written without a token that is valid"),
        (1, "the token may not write"),
        (1, "the token may not write"),
        (1, "is no name of a data set"),
        (1, "manifest.json: no such file"),
        (2, "--gated yes"),
    ]
    for (code, words), (found_code, _, stderr) in zip(expected, failed, strict=True):
        assert found_code == code
        assert words in stderr
        assert stderr.count("\n") == 1
        assert stderr.startswith("error: ")


@pytest.mark.slow  # the client tries again for half a minute
def test_no_server_is_one_clear_error(folder, tmp_path):
    shards(folder, 20, media=False)
    with serve() as gone:
        url = gone.url
    script = START + 'print(json.dumps(attempt(lambda: push_folder(sys.argv[1], "org/ave2"))))'
    said = client(url, tmp_path / "home", script, folder)
    assert said.startswith(f"HubAccessError: org/ave2: {url} cannot be reached")


def test_offline_is_one_clear_error(folder):
    from soundclip_hf.publishing.ave2_push import push_folder

    shards(folder, 20, media=False)
    with pytest.raises(ValueError, match=r"org/ave2: .* cannot be reached .*HF_HUB_OFFLINE"):
        push_folder(folder, "org/ave2")
