"""The paper's tables as data: complete, readable and with every note explained."""

import re

import pytest

from soundclip_hf.analysis.paper_tables import FOLDER, paper_table

NAMES = [*range(1, 17), "figure 6", "figure 9", "text", "icassp2027"]
README = (FOLDER / "README.md").read_text(encoding="utf-8")
ENCODERS = {"ImageBind", "WhisperCLIP", "CLAP", "AudioCLIP", "Wav2CLIP"}


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_there_once_with_its_source(name):
    table = paper_table(name)
    places = [(cell.row, cell.column) for cell in table.cells]
    assert len(places) == len(set(places)) > 0
    for cell in table.cells:
        assert cell.table == str(name)
        assert cell.source
        assert cell.value or cell.note, f"{cell}: an empty cell says why"
        assert not cell.unit or not cell.value or cell.number == float(cell.value)


def test_every_file_is_a_table():
    names = {f"table-{name:02}" if isinstance(name, int) else name.replace(" ", "-") for name in NAMES}
    assert {path.stem for path in FOLDER.glob("*.csv")} == names | {"expected"}


def test_every_note_is_explained():
    used = {
        mark for name in NAMES for cell in paper_table(name).cells for mark in re.findall(r"\[\^[\w-]+\]", cell.note)
    }
    explained = set(re.findall(r"\[\^[\w-]+\]", README))
    assert used <= explained
    assert len(used) > 15


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        (1, 6 * 12), (2, 10 * 8), (3, 5 * 12), (4, 5 * 12), (5, 5 * 12), (6, 5 * 12), (7, 5 * 2), (8, 7 * 2),
        (9, 4 * 3), (10, 3 * 2), (11, 10 * 12), (12, 10 * 5), (13, 8 * 12), (14, 5 * 8), (15, 5 * 3), (16, 8 * 2),
        ("figure 6", 12 * 5),
    ],
)  # fmt: skip
def test_sizes(name, cells):
    assert len(paper_table(name).cells) == cells


def test_cells_that_the_text_has_lost():
    """Four of Table 2; of Table 11 the raw 150-token cells of four encoders twice, and of two once more."""
    lost = {name: [c for c in paper_table(name).cells if not c.value] for name in (1, 2, 3, 4, 5, 6, 11, 13, 14)}
    assert {name: len(cells) for name, cells in lost.items() if cells} == {2: 4, 11: 10}
    assert {(c.row, c.column) for c in lost[2]} == {
        (name, "tvsum_a2v_t1_projected") for name in ENCODERS - {"AudioCLIP"}
    }


@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [
        (1, "ImageBind", "a2v_t1_projected", 45.2),
        (1, "Wav2CLIP", "v2a_t10_projected", 45.6),
        (2, "AudioCLIP", "audioset_v2a_t1_projected", 19.9),
        (4, "CLAP", "v2a_t3_projected", 23.2),
        (5, "WhisperCLIP", "a2v_t10_projected", 59.0),
        (6, "CLAP", "v2a_t10_raw", 14.0),
        (8, "Weighted-sum-all layers", "v2a_mean_rank", 12.0),
        (11, "Wav2CLIP-150tk", "visual_accuracy_projected", 2.17),
        (11, "CLAP-15tk", "coherence_raw", 1.31),
        (13, "ImageBind-150tk", "rouge_2_projected", 0.137),
        (13, "CLAP-15tk", "clipscore_raw_plus_minus", 0.009),
        (14, "AudioCLIP-150tk", "overall_raw", 1.81),
        (16, "Invisible sources only", "count", 2060),
    ],
)
def test_values_read_in_the_paper(name, row, column, value):
    assert paper_table(name).number(row, column) == value


def test_wrong_names_say_what_there_is():
    with pytest.raises(ValueError, match=r"table 17: there is none; there are .*table-16"):
        paper_table(17)
    with pytest.raises(ValueError, match="table 'expected': there is none"):
        paper_table("expected")
    with pytest.raises(ValueError, match="has no row 'BEATs'; its rows are ImageBind, Whisper"):
        paper_table(1).number("BEATs", "a2v_t1_raw")
    with pytest.raises(ValueError, match="has no column 't1'; its columns are a2v_t1_raw"):
        paper_table(1).number("CLAP", "t1")
    with pytest.raises(ValueError, match="the cell is empty"):
        paper_table(2).number("CLAP", "tvsum_a2v_t1_projected")
    with pytest.raises(ValueError, match="the cell is no number: 'ImageBind'"):
        paper_table(15).number("Audio-visual search", "encoder")
