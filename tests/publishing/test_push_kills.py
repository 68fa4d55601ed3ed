"""kill -9 of a build that pushes, before and after each of its requests: no push is half, none is made twice."""

from pathlib import Path

import pytest
from hub_client import client
from hub_server import serve

pytest.importorskip("datasets")

# A Hub knows what it was once sent, whatever the repository: each try has rows, a folder and a repository of its own.
DRIVER = """
import json, os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[2])
from ave2_rows import rows
from huggingface_hub.utils import get_session
from soundclip_hf.data.build.config import BuildConfig
from soundclip_hf.data.build.folder import WHOLE, BuildFolder
from soundclip_hf.data.ave2.shards import MANIFEST, Sizes, write_shards
from soundclip_hf.data.build.perform import is_done, perform
from soundclip_hf.settings import read_settings
from soundclip_hf.publishing.ave2_push import push_folder

def made(name):
    out = Path(sys.argv[1]) / name
    sizes = Sizes(data_rows=20, data_group_rows=10)
    folder = BuildFolder(out)
    write_shards([row | {"source_dataset": name} for row in rows(40)], folder.upload(), sizes=sizes)
    folder.write_manifest("shard", WHOLE, folder.upload() / MANIFEST, {"inputs": {}})
    push = {"repo": f"org/{name}", "options": {"private": True, "tag": "v1.0"}}
    return read_settings(BuildConfig, {"out": str(out), "push": push})

def killed(config, number, moment):
    session, seen = get_session(), 0
    send, rename = type(session).send, os.replace
    def counted(doing):
        nonlocal seen
        seen += 1
        if (seen, moment) == (number, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = doing()
        if (seen, moment) == (number, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    type(session).send = lambda self, *given, **options: counted(lambda: send(self, *given, **options))
    # The last step of a push is its own manifest.
    os.replace = lambda *given, **options: counted(lambda: rename(*given, **options))
    perform(WHOLE, config, "push", push=push_folder)

def child(function, *arguments):
    number = os.fork()
    if number == 0:
        function(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

told, number, codes = [], 0, []
while 0 not in codes:
    number, codes = number + 1, []
    for moment in ("before", "after"):
        config = made(f"try-{number}-{moment}")
        codes.append(child(killed, config, number, moment))
        left = is_done(config, "push", WHOLE)
        done = perform(WHOLE, config, "push", push=push_folder)["pushed"]
        told.append({"repo": done["repo"], "code": codes[-1], "left": left and left["pushed"], "done": done})
print(json.dumps(told))
"""


def test_a_push_that_is_killed_goes_on(tmp_path):
    with serve() as hub:
        hub.part = 16_000  # so that files go in parts, and kills fall between them
        told = client(hub.url, tmp_path / "home", DRIVER, tmp_path, Path(__file__).parents[1] / "support")
    *kills, before, after = told
    assert {one["code"] for one in kills} == {-9}
    assert (before["code"], after["code"]) == (0, 0)
    sent = [path for method, path in hub.requests if method == "PUT" and path.startswith("objects/")]
    assert any(path.endswith("/2") for path in sent)
    assert len(kills) >= 2 * 10
    for one in told:
        key = f"datasets/{one['repo']}"
        commit = one["done"]["commit"]
        names = hub.revisions[key]
        assert names["main"] == names["v1.0"] == commit
        # One commit, with everything, on the empty one; what was sent once was not sent again.
        assert hub.commits[hub.commits[commit].parent].parent is None
        assert sum(path.endswith(".parquet") for path in hub.files(key)) == 2
        assert hub.settings[key].private
        if one["left"] is not None:
            assert one["left"]["commit"] == commit
    assert len(hub.uploads) == len(set(hub.uploads)) == 2 * len(told)
    # Only a push whose manifest was there before the kill counts as done.
    assert [one["repo"] for one in kills if one["left"] is not None] == [kills[-1]["repo"]]
