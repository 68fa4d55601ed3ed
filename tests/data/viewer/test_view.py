"""The page: what it says of each row, where its clips are, and that no caption can act in it."""

import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from ave2_rows import rows
from media_files import grey_frames, tone, write_media

from soundclip_hf.data.ave2.schema import complete
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import read_rows, write_parquet
from soundclip_hf.data.viewer.view import write_page
from soundclip_hf.files import sha256

pytest.importorskip("pyarrow")
EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u2028'\"&"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips, 100 %")
    for name in ("video-00000_01", "-a b#?%_01"):
        options = {"samples": tone(3, 16000), "rate": 16000, "frames": grey_frames(15), "fps": 5}
        write_media(folder / f"{name}.mp4", video="libx264", audio="aac", **options)
    return folder


def given(clips):
    made = rows(1200)
    made[0] = made[0] | {"media_status": "ok", "media_sha256": sha256(clips / "video-00000_01.mp4")}
    odd = {"youtube_id": "-a b#?%", "segment": 1, "split": "train", "media_sha256": sha256(clips / "-a b#?%_01.mp4")}
    evil = {"audio_caption": EVIL, "audio_visual_label": EVIL, "visible_active_sources": [EVIL]}
    return [*made, complete(odd | evil)]


def shown(page):
    """The rows as the page's scripts hold them, in its order."""
    names = re.findall(r'src="rows/(\d+\.js)"', (page / "index.html").read_text())
    found = []
    for name in names:
        text = (page / "rows" / name).read_text(encoding="ascii")
        assert text.startswith("addRows(")
        assert text.endswith(");\n")
        found += json.loads(text[len("addRows(") : -3])
    return found


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_rows_of_the_page(clips, tmp_path):
    write_parquet(given(clips), tmp_path / "t.parquet")
    made = write_page(tmp_path / "t.parquet", tmp_path / "page", media=clips, title=f"t {EVIL}")
    assert made == {"rows": 1201, "clips": 2, "limited": False}
    found = shown(tmp_path / "page")
    for row, expected in zip(found, read_rows(tmp_path / "t.parquet"), strict=True):
        assert row["id"] == expected["sample_id"]
        assert row["scores"][0] == expected["temporal_alignment_score"]
        assert row["scores"][5] == pytest.approx(expected["overall_score"])
        assert row.get("visible") == expected["visible_active_sources"]
        assert row["type"] == expected["segment_type"]
    assert found[-1]["captions"] == [["Sound", EVIL]]
    assert found[9]["scores"] == [None] * 6
    assert "visible" not in found[9]  # not judged is not the same as none
    for row in (found[0], found[-1]):
        assert (tmp_path / "page" / unquote(row["clip"])).read_bytes() == (clips / f"{row['id']}.mp4").read_bytes()
    assert found[1]["clip"] is None


def test_nothing_from_outside_and_no_script_of_a_caption(clips, tmp_path):
    write_parquet(given(clips), tmp_path / "t.parquet")
    write_page(tmp_path / "t.parquet", tmp_path / "page", media=clips, title=f"t {EVIL}")
    parser = Elements()
    parser.feed((tmp_path / "page" / "index.html").read_text())
    scripts = [attributes["src"] for tag, attributes in parser.found if tag == "script"]
    assert scripts == ["view.js", "rows/00000.js", "rows/00001.js", "rows/00002.js"]
    assert "img" not in {tag for tag, _ in parser.found}
    (policy,) = [a["content"] for tag, a in parser.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in (tmp_path / "page").rglob("*.*"):
        text = path.read_text()
        assert "http:" not in text
        assert "https:" not in text
        assert "innerHTML" not in text


def test_clips_out_of_parquet(clips, tmp_path):
    write_shards(given(clips), tmp_path / "set", media=clips)
    made = write_page(tmp_path / "set", tmp_path / "page")
    assert made == {"rows": 1201, "clips": 2, "limited": False}
    shutil.move(tmp_path / "page", tmp_path / "moved")  # the page takes its clips with it
    for row in (row for row in shown(tmp_path / "moved") if row["clip"]):
        assert (tmp_path / "moved" / unquote(row["clip"])).read_bytes() == (clips / f"{row['id']}.mp4").read_bytes()
    made = write_page(tmp_path / "set" / "media", tmp_path / "alone", limit=1)
    assert made == {"rows": 1, "clips": 1, "limited": True}
    assert len(list((tmp_path / "alone" / "clips").iterdir())) == 1


def test_a_long_table_is_cut_and_says_so(clips, tmp_path):
    write_parquet(rows(30), tmp_path / "t.parquet")
    assert write_page(tmp_path / "t.parquet", tmp_path / "page", limit=20) == {"rows": 20, "clips": 0, "limited": True}
    assert "20 rows, the first of a longer table" in (tmp_path / "page" / "index.html").read_text()
    (tmp_path / "empty").mkdir()
    assert not write_page(tmp_path / "t.parquet", tmp_path / "empty", limit=30)["limited"]


def test_what_cannot_be_shown(clips, tmp_path):
    write_parquet(rows(3), tmp_path / "t.parquet")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="full: is there already"):
        write_page(tmp_path / "t.parquet", tmp_path / "full")
    with pytest.raises(ValueError, match="no such folder"):
        write_page(tmp_path / "t.parquet", tmp_path / "page", media=tmp_path / "none")
    with pytest.raises(ValueError, match="no clip of these rows"):
        write_page(tmp_path / "t.parquet", tmp_path / "page", media=tmp_path / "full")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="has no rows"):
        write_page(tmp_path / "empty.jsonl", tmp_path / "page")
    assert {path.name for path in tmp_path.iterdir()} == {"t.parquet", "full", "empty.jsonl"}
