"""The card of a data set: its front matter, its numbers, its conditions of use."""

import re

import pytest
import yaml
from ave2_rows import rows
from publishing_folder import shards

from soundclip_hf.data.ave2.schema import SCORES, SEGMENT_TYPES
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.terms import CONDITIONS
from soundclip_hf.publishing.ave2_card import ave2_card

pytest.importorskip("datasets")


def front(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---", card, re.DOTALL).group(1))


def test_front_matter(tmp_path):
    shards(tmp_path)
    about = front(ave2_card(tmp_path, "org/ave2", title="Our clips", licence="cc-by-sa-4.0"))
    assert about["license"] == "cc-by-sa-4.0"
    assert about["pretty_name"] == "Our clips"
    assert about["size_categories"] == ["n<1K"]
    configs = {config["config_name"]: config for config in about["configs"]}
    assert [*configs] == ["default", "filtered", "retrieval", "localization", "offscreen", "media"]
    assert configs["default"]["default"] is True
    assert configs["default"]["data_files"][1] == {"split": "train", "path": "data/train-*.parquet"}
    assert configs["media"]["data_files"][0] == {"split": "eval", "path": "media/eval-*.parquet"}
    assert configs["filtered"]["filters"] == [["overall_score", ">", 8.0]]
    assert configs["offscreen"]["filters"] == [["has_invisible", "==", True]]
    assert configs["retrieval"]["columns"][0] == "sample_id"
    loose = front(ave2_card(tmp_path, "org/ave2", inclusive=True))["configs"][1]
    assert loose["filters"] == [["overall_score", ">=", 8.0]]


def test_numbers_and_conditions(tmp_path):
    given = shards(tmp_path)
    card = ave2_card(tmp_path, "org/ave2")
    for name in SCORES:
        known = [row[name] for row in given if row[name] is not None]
        line = next(line for line in card.splitlines() if line.startswith(f"| {name.removesuffix('_score')} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1] == f"{sum(known) / len(known):.3f}"
        assert cells[4] == str(len(given) - len(known)) == "12"
    for kind in SEGMENT_TYPES.values():
        assert f"| `{kind}` | {sum(row['segment_type'] == kind for row in given)} |" in card
    assert "| train | 96 | 48 |" in card
    for condition in CONDITIONS:
        assert f"- {condition}\n" in card
    assert "{{" not in card
    assert "\n\n\n" not in card


def test_without_clips_and_scores(tmp_path):
    blank = [{**row, **dict.fromkeys(SCORES), "overall_score": None} for row in rows(6)]
    write_shards(blank, tmp_path)
    card = ave2_card(tmp_path, "org/ave2")
    assert [config["config_name"] for config in front(card)["configs"]] == ["default", "offscreen"]
    assert "with_audio" not in card
    assert '"filtered"' not in card.split("## What is in it")[0].split("No configuration")[0]
    assert "nan" not in card
    assert "| overall | – | – | – | 6 |" in card
