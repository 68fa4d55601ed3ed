"""Tables of any kind, and manifests written and read back."""

import json
from pathlib import Path

import pytest
from ave2_rows import rows
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared_path

from soundclip_hf.data.ave2.schema import MEDIA_STATUS
from soundclip_hf.data.ave2.tables import write_parquet
from soundclip_hf.data.other_sets import readers as other_sets
from soundclip_hf.data.other_sets.manifest import AVManifest, Entry
from soundclip_hf.data.other_sets.manifest_files import read_manifest, write_manifest

TABLE = [
    {"video_id": "a", "start": 3, "end": 6.5, "label": "dog", "note": "x", "path": "clips/one.mp4"},
    {"video_id": "b", "start": None, "end": None, "label": None, "note": "y", "path": None},
]


def write(folder, kind):
    path = folder / f"table{kind}"
    if kind == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(TABLE), path)
    elif kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in TABLE))
    elif kind == ".json":
        path.write_text(json.dumps(TABLE))
    else:
        cells = [TABLE[0].keys(), *(row.values() for row in TABLE)]
        comma = "\t" if kind == ".tsv" else ","
        path.write_text("".join(comma.join("" if v is None else str(v) for v in row) + "\n" for row in cells))
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same(tmp_path, kind):
    manifest = read_manifest(write(tmp_path, kind))
    first, second = manifest
    assert manifest.source == "table"
    assert (first.sample_id, first.youtube_id, first.start, first.end) == ("a_3", "a", 3.0, 6.5)
    assert (first.labels, first.extra, first.path) == (("dog",), {"note": "x"}, Path("clips/one.mp4"))
    assert (second.sample_id, second.start, second.end, second.labels, second.path) == ("b", 0.0, None, (), None)


def test_columns_of_other_names(tmp_path):
    (tmp_path / "t.csv").write_text("uid,from,what\nv1,1.5,bell\n")
    (entry,) = read_manifest(
        tmp_path / "t.csv", source="bells", columns={"youtube_id": "uid", "start": "from", "labels": "what"}
    )
    assert (entry.sample_id, entry.youtube_id, entry.start, entry.labels) == ("v1_1.5", "v1", 1.5, ("bell",))
    with pytest.raises(ValueError, match="has no column 'id'; it has uid, from, what"):
        read_manifest(tmp_path / "t.csv", columns={"youtube_id": "id"})
    with pytest.raises(ValueError, match="'begin' is none of sample_id"):
        read_manifest(tmp_path / "t.csv", columns={"begin": "from"})


def test_a_table_of_ave2(tmp_path):
    pytest.importorskip("pyarrow")
    made = rows(30)
    write_parquet(made, tmp_path / "t.parquet")
    manifest = read_manifest(tmp_path / "t.parquet")
    assert [(e.sample_id, e.youtube_id, e.start, e.end) for e in manifest] == [
        (row["sample_id"], row["youtube_id"], row["youtube_start_time"], row["youtube_end_time"]) for row in made
    ]


entries = st.builds(
    Entry,
    sample_id=st.text(min_size=1, max_size=6),
    youtube_id=st.text(min_size=1, max_size=6),
    start=st.one_of(st.none(), st.floats(0, 1e5)),
    captions=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    labels=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    event=st.one_of(st.none(), st.tuples(st.floats(0, 5), st.floats(5, 10))),
    split=st.one_of(st.none(), st.text(min_size=1)),
    extra=st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text()), max_size=3),
    path=st.one_of(st.none(), st.sampled_from([Path("a.mp4"), Path("b/c d.mkv")])),
    offset=st.floats(0, 1e5),
    media_status=st.sampled_from(MEDIA_STATUS),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(entries, max_size=5, unique_by=lambda entry: entry.sample_id))
def test_what_is_written_is_read_back(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("manifest") / "m.jsonl"
    manifest = AVManifest("a set", tuple(made))
    write_manifest(manifest, path)
    again = read_manifest(path)
    assert again.entries == manifest.entries
    assert again.source == (manifest.source if made else "m")
    assert again.fingerprint() == AVManifest("other", tuple(made[::-1])).fingerprint()


def test_a_real_table_read_back(tmp_path):
    manifest = other_sets.ave(shared_path("annotations/ave/Annotations.txt"))
    write_manifest(manifest, tmp_path / "ave.jsonl")
    again = read_manifest(tmp_path / "ave.jsonl")
    assert len(again) == 4143
    assert again == manifest


def test_a_real_table_by_the_usual_names():
    """The generic reader knows the columns of AudioCaps; a row per caption, where the adapter joins them."""
    path = shared_path("annotations/audiocaps/train.csv")
    named, joined = read_manifest(path), other_sets.audiocaps(path)
    assert len(named) == len(joined) == 49838
    assert {(e.sample_id, e.start, e.captions) for e in named} == {(e.sample_id, e.start, e.captions) for e in joined}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "video_id,start\nx,soon\n", r"a\.csv, row 1: start 'soon' is no time in seconds"),
        ("a.csv", "video_id,start\nx,nan\n", "start 'nan' is no time"),
        ("a.csv", "video_id,start\nx,-1\n", "start '-1' is no time"),
        ("a.csv", "video_id,start,end\nx,5,3\n", "ends at 3 s, but starts at 5"),
        ("a.csv", "video_id,start\n,5\n", "neither the video's id nor a path"),
        ("a.csv", "title,start\nx,5\n", "no column names the video; it has title, start"),
        ("a.csv", "video_id\nx\nx\n", "'x' comes more than once"),
        ("a.json", '{"a": 1}', "is no JSON array"),
        ("a.json", "[1]", "row 1: is int, not an object"),
        ("a.jsonl", '{"video_id": "x"}\n{\n', r"a\.jsonl, line 2: is no JSON"),
        ("a.parquet", "text", "cannot be read as Parquet"),
        ("a.txt", "", r"is no \.csv"),
    ],
)
def test_broken_tables(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_manifest(tmp_path / name)
    with pytest.raises(ValueError, match="no such file"):
        read_manifest(tmp_path / f"other{name}")


def test_the_earlier_import_still_works():
    from soundclip_hf.data import manifest_files, other_sets

    assert manifest_files.read_manifest is other_sets.read_manifest is read_manifest
