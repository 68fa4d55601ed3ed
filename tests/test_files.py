"""Files that appear whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from soundclip_hf.files import (
    InUseError,
    expand_user,
    lock_folder,
    naming,
    open_locked,
    partial_name,
    read_json,
    replacing,
    replacing_folder,
    sha256,
    write_json,
    write_text,
)


def fail_while_writing(path):
    with replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "old"
        raise RuntimeError


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        fail_while_writing(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "a"
    for _ in range(2):  # at first there is nothing, then an empty folder
        with replacing_folder(path) as partial:
            (partial / "half").touch()
            assert not path.exists() or not any(path.iterdir())
        (path / "half").unlink()
    (path / "kept").touch()
    with pytest.raises(OSError, match="not empty"), replacing_folder(path) as partial:
        pass
    with pytest.raises(RuntimeError), replacing_folder(path, overwrite=True):
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["kept"]
    with replacing_folder(path, overwrite=True) as partial:
        (partial / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


HOLDER = """
import sys, time
from pathlib import Path
from soundclip_hf.files import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def test_a_lock_ends_with_its_process(tmp_path):
    folder = tmp_path / "new" / "folder"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(InUseError, match=f"^{folder}: another process is writing to it; wait until it is done"):
        lock_folder(folder)
    holder.kill()
    holder.wait()
    lock_folder(folder).close()
    lock_folder(folder).close()


def test_the_lock_of_a_file_that_was_replaced_does_not_count(tmp_path, monkeypatch):
    """Between opening and locking a file, whoever had it may put another one in its place."""
    path, new = tmp_path / "a", tmp_path / "b"
    path.write_text("old")
    new.write_text("new")
    lock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *given: (new.exists() and os.replace(new, path), lock(*given)))
    with open_locked(path) as file:
        assert os.path.sameopenfile(file.fileno(), os.open(path, os.O_RDONLY))
    assert path.read_text() == "new"


def test_json(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"b": "é", "a": [1]})
    assert read_json(path) == {"a": [1], "b": "é"}
    path.write_text(path.read_text()[:-4])
    assert read_json(path) is None


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_an_error_of_a_writer_names_the_target_and_not_its_temporary_name(tmp_path):
    for place in (tmp_path / "none" / "a.txt", tmp_path / "file" / "a.txt"):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match=r"a\.txt") as caught:
            write_text(place, "new")
        assert caught.value.filename == str(place)
        assert ".partial" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "folder", "new")
    assert caught.value.filename == str(tmp_path / "folder")
    assert not [*tmp_path.glob(".*")]


def test_naming_puts_the_file_in_front_of_errors_that_do_not_say_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.txt: is not UTF-8 text"), naming(path):
        path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt: Expecting value"), naming(path):
        json.loads("nothing")
    with pytest.raises(OSError, match=r"a\.txt") as caught, naming(path):
        raise OSError(errno.EIO, "Input/output error")
    assert caught.value.errno == errno.EIO
    said = ValueError(f"{path}, line 3: is no JSON")
    with pytest.raises(ValueError, match="line 3") as caught, naming(path):
        raise said
    assert caught.value is said


@pytest.mark.parametrize("name", ["a" * 250, "ä" * 120, "日" * 80])
def test_a_long_name_has_a_temporary_name_that_fits(tmp_path, name):
    for kind in ("one", "other"):
        write_text(tmp_path / f"{name}{kind[0]}", kind)
    assert (tmp_path / f"{name}o").read_text() == "other"
    assert partial_name(tmp_path / f"{name}x") != partial_name(tmp_path / f"{name}y")
    with replacing_folder(tmp_path / f"{name}f") as folder:
        (folder / "a").touch()
    assert (tmp_path / f"{name}f" / "a").exists()


def test_the_umask_decides_the_permissions(tmp_path):
    """safetensors writes files that others cannot read, whatever the umask is."""
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a.safetensors", sync=True) as partial:
            save_file({"x": torch.zeros(1)}, partial)
        with replacing_folder(tmp_path / "b") as folder:
            save_file({"x": torch.zeros(1)}, folder / "a.safetensors")
        write_text(tmp_path / "c", "")
    finally:
        os.umask(before)
    for path in ("a.safetensors", "b/a.safetensors", "c"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o640


KILLED = """
import os, sys
from pathlib import Path
from soundclip_hf.files import replacing, replacing_folder
with replacing(Path(sys.argv[1]) / "a") as file, replacing_folder(Path(sys.argv[1]) / "b") as folder:
    file.touch()
    (folder / "c").touch()
    os._exit(0)
"""


def test_leftovers_of_processes_that_ended_are_removed(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True)
    assert len(list(tmp_path.iterdir())) == 2
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = partial_name(tmp_path / "own")
    kept = [
        own,
        tmp_path / f".x.{ended.pid}-another_machine.partial",
        tmp_path / ".x.partial",
        tmp_path / "x.1.partial",
    ]
    for path in (*kept, tmp_path / f".x.{ended.pid}.partial"):
        path.touch()
    lock_folder(tmp_path).close()
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / ".lock"])


def test_a_home_folder_of_nobody(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert str(expand_user("~/a")) == "/home/me/a"
    with pytest.raises(ValueError, match=r"^~no-such-user/a: ~no-such-user is no home folder of a user here"):
        expand_user("~no-such-user/a")
