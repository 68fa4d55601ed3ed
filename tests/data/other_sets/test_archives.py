"""Clips out of tar archives: what is read, and what is said of members and archives that are damaged."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from media_files import tone, write_media

from soundclip_hf.data.other_sets.archives import resolve_archives, stream_archives
from soundclip_hf.data.other_sets.manifest import AVManifest, Entry


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """4 s of video with sound; random enough not to compress."""
    path = tmp_path_factory.mktemp("clip") / "c.mp4"
    write_media(path, video="mpeg4", audio="aac", samples=tone(4, 16000), rate=16000, fps=5)
    return path.read_bytes()


@pytest.fixture(scope="module")
def mute(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "c.mp4"
    write_media(path, video="mpeg4", fps=5)
    return path.read_bytes()


def pack(path, members):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def vgg(*numbers):
    """Names as VGGSound has them."""
    return AVManifest("vggsound", tuple(Entry(f"v{n}_000010", f"v{n}", 10.0, 20.0) for n in numbers))


def test_clips_of_all_parts(tmp_path, clip, mute):
    pack(
        tmp_path / "set_00.tar.gz", [("set/v1_000010.mp4", clip), ("set/other_000010.mp4", clip), ("set/list.csv", b"")]
    )
    pack(tmp_path / "set_01.tar", [("v3_000010.mp4", mute), ("v2_000010.mp4", clip), ("v1_000010.mp4", mute)])
    damage = []
    found = list(stream_archives(vgg(1, 2, 3, 4), tmp_path, damage))
    assert [(entry.sample_id, entry.media_status) for entry, _ in found] == [
        ("v1_000010", "ok"),
        ("v3_000010", "no_audio"),
        ("v2_000010", "ok"),
    ]
    assert [content for _, content in found] == [clip, mute, clip]
    assert damage == []
    report = resolve_archives(vgg(1, 2, 3, 4), tmp_path, damage).coverage()
    assert (report["ok"], report["no_audio"], report["missing"]) == (2, 1, 1)
    assert report["ok_sha256"] == vgg(2, 1).fingerprint()


def test_bad_members_are_named_and_taken_from_a_later_copy(tmp_path, clip):
    pack(tmp_path / "a.tar.gz", [("v1_000010.mp4", clip[:300]), ("v2_000010.mp4", b"no clip"), ("v3_000010.mp4", clip)])
    pack(tmp_path / "b.tar.gz", [("v1_000010.mp4", clip)])
    damage = []
    found = resolve_archives(vgg(1, 2, 3), tmp_path, damage)
    assert [entry.media_status for entry in found] == ["ok", "decode_error", "ok"]
    assert [str(one) for one in damage] == [
        "a.tar.gz: v1_000010.mp4: is no clip that can be decoded",
        "a.tar.gz: v2_000010.mp4: is no clip that can be decoded",
    ]


@pytest.mark.parametrize("part", [0.45, 0.75, 0.98])
@pytest.mark.parametrize("suffix", [".tar.gz", ".tar"])
def test_an_archive_that_is_cut_gives_what_comes_before(tmp_path, clip, suffix, part):
    # Ten equal clips would compress to one.
    noise = np.random.default_rng(0).bytes(len(clip))
    padded = [clip + struct.pack(">I4s", 8 + len(noise), b"free") + noise[n:] + noise[:n] for n in range(10)]
    path = tmp_path / f"set_08{suffix}"
    pack(path, [(f"v{number}_000010.mp4", content) for number, content in enumerate(padded)])
    whole = path.read_bytes() if suffix != ".tar" else path.read_bytes()[: 10 * (512 + -(-len(padded[0]) // 512) * 512)]
    path.write_bytes(whole[: int(part * len(whole))])
    pack(tmp_path / "set_09.tar.gz", [("v10_000010.mp4", clip)])
    damage = []
    found = resolve_archives(vgg(*range(11)), tmp_path, damage)
    status = [entry.media_status for entry in found]
    read = status[:10].count("ok")
    assert status == ["ok"] * read + ["missing"] * (10 - read) + ["ok"]
    assert read == int(10 * part)
    (broken,) = damage
    assert (broken.archive, broken.member) == (path.name, None)
    assert str(broken).startswith(f"set_08{suffix}: breaks off after {broken.read} clips: ")
    assert broken.read == read


def test_a_plain_archive_cut_between_members(tmp_path, clip):
    path = tmp_path / "a.tar"
    pack(path, [("v1_000010.mp4", clip), ("v2_000010.mp4", clip)])
    path.write_bytes(path.read_bytes()[: 512 + -(-len(clip) // 512) * 512])
    damage = []
    found = resolve_archives(vgg(1, 2), path, damage)
    assert [entry.media_status for entry in found] == ["ok", "missing"]
    # The last block of a clip may happen to be all zeros, as an end mark is.
    assert [one.reason for one in damage] in (["has no end mark; it is cut off"], [])


def test_no_archive_at_all_is_damage_of_that_file(tmp_path, clip):
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"no archive" * 100))
    pack(tmp_path / "c.tgz", [("v1_000010.mp4", clip)])
    damage = []
    found = resolve_archives(vgg(1), tmp_path, damage)
    assert [one.archive for one in damage] == ["a.tar.gz", "b.tar.gz"]
    assert [entry.media_status for entry in found] == ["ok"]
    with pytest.raises(ValueError, match=r"has no \.tar"):
        list(stream_archives(vgg(1), tmp_path / "none", []))


def test_a_whole_video_comes_once_for_each_entry(tmp_path, clip):
    pack(tmp_path / "a.tar", [("v.mp4", clip)])
    manifest = AVManifest("set", tuple(Entry(f"v-{start}", "v", float(start), start + 3.0) for start in (0, 1, 2)))
    found = list(stream_archives(manifest, tmp_path, []))
    assert [(entry.sample_id, entry.offset, entry.media_status) for entry, _ in found] == [
        ("v-0", 0.0, "ok"),
        ("v-1", 1.0, "ok"),
        ("v-2", 2.0, "too_short"),
    ]
