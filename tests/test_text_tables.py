"""Tables as spreadsheets and editors write them. Kinds of fault: two readers of one thing; unwritable text."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundclip_hf.data.other_sets import audiocaps, audioset, ave, vggsound
from soundclip_hf.data.other_sets.manifest_files import read_manifest
from soundclip_hf.data.stats.rating_sheet import read_ratings, write_sheet
from soundclip_hf.text_tables import check_question, check_writable, csv_lines, csv_rows, json_lines, json_value

MARK = "\ufeff"
ENDS = ("\n", "\r\n", "\r")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", ["", MARK])
def test_marks_and_line_ends_change_nothing(tmp_path, mark, end):
    table = tmp_path / "t.csv"
    table.write_bytes((mark + end.join(["id,text", 'a,"one, two"', "b,ü", ""])).encode())
    assert list(csv_rows(table, ("id",))) == [{"id": "a", "text": "one, two"}, {"id": "b", "text": "ü"}]
    lines = tmp_path / "t.jsonl"
    lines.write_bytes((mark + end.join(['{"id": 1}', "", '{"id": "\u2028"}'])).encode())
    assert [(number, json_value(line)) for number, line in json_lines(lines)] == [(1, {"id": 1}), (3, {"id": "\u2028"})]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", ["", MARK])
def test_every_reader_of_other_sets_takes_them(tmp_path, mark, end):
    def written(name, *lines):
        (tmp_path / name).write_bytes((mark + end.join([*lines, ""])).encode())
        return tmp_path / name

    assert [entry.youtube_id for entry in vggsound(written("vggsound.csv", "abc,30,dog,test"))] == ["abc"]
    assert [entry.labels for entry in ave(written("trainSet.txt", "Church bell&abc&good&0&10"))] == [("Church bell",)]
    rows = written("train.csv", "audiocap_id,youtube_id,start_time,caption", "7,abc,30,a dog barks")
    assert [entry.captions for entry in audiocaps(rows)] == [("a dog barks",)]
    segments = written("eval_segments.csv", "# made, by, hand", "abc, 30.000, 40.000, " + '"/m/1,/m/2"')
    assert [entry.extra["mids"] for entry in audioset(segments)] == [["/m/1", "/m/2"]]
    assert [entry.youtube_id for entry in read_manifest(written("m.jsonl", '{"id": "x", "video_id": "abc"}'))] == [
        "abc"
    ]
    assert [entry.youtube_id for entry in read_manifest(written("m.tsv", "video_id\tstart", "abc\t1"))] == ["abc"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,text\na,Zürich\n".encode("latin-1"), "byte 0xfc"),
        ("id,text\na,b\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_another_encoding_is_named_with_the_file(tmp_path, content, words):
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        list(csv_rows(table))
    assert str(table) in str(error.value)
    assert "save it as UTF-8" in str(error.value)


def test_a_wrong_number_of_fields_names_the_row(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b\n\nc\n")
    with pytest.raises(ValueError, match=r"line 3: 1 fields, expected 2"):
        list(csv_lines(table, (2,)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'{"a": ["\ud83d"]}', "half of a surrogate pair"),
        (r'{"\udc00": 1}', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "is no JSON"),
    ],
)
def test_values_that_no_file_can_hold(text, words):
    with pytest.raises(ValueError, match=words):
        json_value(text)


@given(st.text(st.characters(exclude_categories=())))
def test_check_writable_agrees_with_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="surrogate"):
            check_writable({"a": [text]})
    else:
        check_writable({"a": [text]})


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("", "is empty; write a question"),
        (" \n\t\u3000", "is empty; write a question"),
        ("Why\ud83d?", "half of a surro"),
    ],
)
def test_a_question_that_cannot_be_asked(question, words):
    with pytest.raises(ValueError, match=words):
        check_question(question)
    check_question("?")


def test_a_whole_pair_is_a_character():
    assert json_value(r'"\ud83d\ude00"') == "\U0001f600"


@pytest.mark.parametrize("name", ["=1+1", "\t=1", "\r=1", "a;=1+1", "-abc", "a,-b"])
def test_no_cell_of_a_sheet_is_a_formula(tmp_path, name):
    """Neither read with commas nor, as in many countries, with semicolons."""
    sheet = tmp_path / "sheet.csv"
    row = {"sample_id": name, "youtube_id": name, "youtube_start_time": 0.0, "youtube_end_time": 3.0}
    write_sheet([row], sheet)
    for delimiter in ",;":
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            for cells in csv.reader(file, delimiter=delimiter):
                assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    scores = ",".join(["5"] * 5)
    text = sheet.read_bytes().decode("utf-8-sig").replace(",,,,,,", f",{scores},")
    sheet.write_bytes(text.encode("utf-8-sig"))
    assert [row["sample_id"] for row in read_ratings(sheet)] == [name]
