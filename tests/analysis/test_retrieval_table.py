"""The paper's tables of retrieval, repeated: what is missing is named, and the cells are the paper's and ours."""

import json

import pytest
from huggingface_hub import constants

from soundclip_hf.analysis.paper_tables import paper_table
from soundclip_hf.analysis.retrieval_table import compare, missing_parts
from soundclip_hf.evaluation.results import EvalResult


def adapter(folder, **config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


def result(**groups):
    bars = {"raw_a2v": {"interval_95": {"t1": [0.5, 3.0]}}}
    return EvalResult("retrieval", "m", "d", 100, 0, groups, bars)


def numbers(start):
    return {"t1": start, "t3": start + 1, "t10": start + 2, "mean_rank": 9.0}


def test_the_cells_are_the_papers_beside_ours():
    ways = {
        f"{kind}_{way}": numbers(n)
        for n, (kind, way) in enumerate([("raw", "a2v"), ("projected", "a2v"), ("raw", "v2a"), ("projected", "v2a")])
    }
    cells = {(cell.encoder, cell.column): cell for cell in compare(1, {"CLAP": result(**ways)})}
    assert len(cells) == 6 * 12
    clap = cells["CLAP", "a2v_t1_raw"]
    assert (clap.paper, clap.measured, clap.interval) == (1.4, 0.0, (0.5, 3.0))
    assert cells["CLAP", "v2a_t10_projected"].measured == 5.0
    assert cells["ImageBind", "a2v_t1_projected"].paper == 45.2
    assert cells["ImageBind", "a2v_t1_projected"].measured is None


@pytest.mark.parametrize("table", [1, 4, 5, 6])
def test_every_table_of_retrieval_can_be_compared(table):
    assert len(list(compare(table, {}))) == 12 * len(paper_table(table).rows)


def test_a_result_without_a_number_is_named():
    with pytest.raises(ValueError, match=r"CLAP: the result has no projected_a2v\.t1"):
        list(compare(1, {"CLAP": result(raw_a2v=numbers(0))}))


def test_a_missing_adapter_is_named_with_the_command_that_trains_it(tmp_path):
    (one,) = missing_parts("ImageBind", tmp_path)
    assert str(tmp_path / "imagebind") in one.what
    assert "soundclip align --config align/imagebind" in one.fix
    assert "encoders/imagebind" in one.fix


@pytest.mark.parametrize("table", [1, 4, 5, 6])
def test_every_row_has_a_recipe(table, tmp_path):
    for encoder in paper_table(table).rows:
        assert "(it needs " in missing_parts(encoder, tmp_path)[0].fix


def test_missing_base_and_encoder_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "there").mkdir()
    names = {"base_model_name_or_path": "org/base", "base_model_revision": "abc"}
    adapter(tmp_path / "clap", **names, audio_encoder_name_or_path=str(tmp_path / "there"))
    (one,) = missing_parts("CLAP", tmp_path)
    assert "base model org/base at revision abc is neither a folder nor in the cache" in str(one)
    adapter(tmp_path / "wav2clip", audio_encoder_name_or_path=str(tmp_path / "gone"))
    (one,) = missing_parts("Wav2CLIP", tmp_path)
    assert "audio encoder" in one.what
    adapter(tmp_path / "whisper")
    assert missing_parts("Whisper", tmp_path) == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert missing_parts("CLAP", tmp_path) == []


def test_a_damaged_config_is_named(tmp_path):
    adapter(tmp_path / "clap")
    (tmp_path / "clap" / "config.json").write_text("{")
    assert "is no JSON" in missing_parts("CLAP", tmp_path)[0].what
