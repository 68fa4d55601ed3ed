"""`soundclip eval judge` and `eval agreement`, from the answers of `describe` to the trade-off."""

import csv
import json

import pytest
from answer_judge import answer_in, line, verdict, write_lines
from chat_server import chat_server, completion

from soundclip_hf.evaluation.judge import DIMENSIONS, JUDGE_SCALE
from soundclip_hf.evaluation.results import EvalResult

pytest.importorskip("httpx")


@pytest.fixture
def judge(soundclip):
    def run(asked, *arguments):
        address = asked if isinstance(asked, str) else asked.url
        return soundclip("eval", "judge", *arguments, "--server", address, "--judge-model", "j", "--attempts", 2)

    return run


def test_the_answers_of_describe_are_judged(soundclip, judge, files, tmp_path):
    manifest, table = tmp_path / "clips.jsonl", tmp_path / "known.jsonl"
    write_lines(manifest, [{"id": name, "video": str(files / f"{name}.mp4")} for name in "ab"])
    write_lines(table, [{"id": name, "audio_caption": f"tone {name}", "video": str(files / "a.mp4")} for name in "ab"])
    made = []
    for kind in ("raw", "projected"):
        made.append(tmp_path / f"{kind}.jsonl")
        options = ["--out", made[-1], "--alignment", kind, "--max-new-tokens", 4, "-q", "What is heard?"]
        assert soundclip("describe", "--manifest", manifest, *options).code == 0
    out = tmp_path / "judged"
    with chat_server(lambda number, _: completion(verdict(1 + number))) as asked:
        done = judge(asked, *made, "--data", table, "--with-frame", "--out", out, "--concurrency", 1, "--json")
    assert done.code == 0, done.stderr
    assert len(asked.bodies) == 4
    assert asked.bodies[0]["messages"][1]["content"][1]["type"] == "image_url"
    first, second = done.rows
    assert first["metrics"]["judge_overall"] == 1.5
    assert second["metrics"]["judge_overall"] == 3.5
    assert second["config"]["judge"]["with_frame"] is True
    names = [path.name for path in sorted(out.glob("*.json"))]
    assert [name.split("-k")[0] for name in names] == ["judge-projected", "judge-raw"]
    model = EvalResult.load(out / names[0]).model
    retrieval = EvalResult("retrieval", model, "d", 9, 0, {"raw_a2v": {"t1": 1.0}, "projected_a2v": {"t1": 4.0}}, {})
    retrieval.save(tmp_path / "retrieval.json")
    results = [tmp_path / "retrieval.json", *sorted(out.glob("*.json"))]
    compared = soundclip("tradeoff", *results, "--generation-metric", "judge_overall", "--json")
    assert compared.code == 0, compared.stderr
    assert compared.rows[0]["points"][0]["gain_pp"] == 3


def test_the_captions_of_generation_are_judged_and_drawn(soundclip, judge, tmp_path):
    pytest.importorskip("matplotlib")
    made, out = tmp_path / "made", tmp_path / "judged"
    options = ["--limit", 2, "--top-k", "4,8", "--metrics", "source_recall", "--max-new-tokens", 4, "--out", made]
    assert soundclip("eval", "generation", "--data", "synthetic", *options).code == 0
    captions = sorted((made / "captions").glob("*.jsonl"))
    assert len(captions) == 4
    with chat_server(lambda *_: completion(verdict(3))) as asked:
        done = judge(asked, *captions, "--data", "synthetic", "--out", out, "--json")
    assert done.code == 0, done.stderr
    assert "<known_sources>heard and seen:" in asked.bodies[0]["messages"][1]["content"]
    results = sorted(out.glob("*.json"))
    names = [f"judge-{kind}-k{k}-zero.json" for kind in ("projected", "raw") for k in (4, 8)]
    assert [path.name for path in results] == names
    drawn = soundclip("eval", "plot", "budget", *results, "--metric", "judge_overall", "--out", tmp_path / "b.svg")
    assert drawn.code == 0, drawn.stderr


def test_a_run_that_was_stopped_goes_on(judge, tmp_path):
    rows = [line(str(number), f"answer {number}") for number in range(5)]
    answers, out = write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out"

    def reply(number, body):
        broken = (401, {}, "the key has expired")
        return broken if number >= 3 and number < 5 else completion(verdict(4))

    with chat_server(reply) as asked:
        stopped = judge(asked, answers, "--out", out, "--concurrency", 1)
        assert stopped.code == 1
        assert "the key has expired" in stopped.error
        assert not [*out.glob("*.json*")]
        sent = len(asked.bodies)
        asked.bodies.extend([{}] * 2)  # the key is good again
        done = judge(asked, answers, "--out", out, "--json")
        assert len(asked.bodies) - sent - 2 == 2
    assert done.code == 0, done.stderr
    assert done.rows[0]["n"] == 5


def test_what_fails_is_counted_and_said(judge, tmp_path):
    rows = [line("a", "prose"), line("b", "good"), line("c", "")]
    answers, out = write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out"
    with chat_server(lambda _, body: completion("Nice." if answer_in(body) == "prose" else verdict(3))) as asked:
        done = judge(asked, answers, "--out", out)
    assert done.code == 1
    assert "m, raw" not in done.stdout
    assert "n = 1 of 3" in done.stdout
    assert "warning: 1 of 3 answers are empty" in done.stderr
    assert "failed: 1 of 3, most often because: it has no complete JSON object (a)" in done.stderr
    found = EvalResult.load(out / "judge-raw-k15.json")
    assert found.metrics["parse_failure_rate"] == 0.5
    assert found.config["failures"] == {"unusable": 1}
    judged = [json.loads(text) for text in (out / "judged.jsonl").read_text().splitlines()]
    assert [row["overall_score"] for row in judged] == [None, 3, None]


def test_people_and_a_judge_are_compared(soundclip, judge, tmp_path):
    rows = [line(str(number), f"answer {number}") for number in range(4)] + [line("e", "")]
    answers, out, sheet = write_lines(tmp_path / "a.jsonl", rows), tmp_path / "out", tmp_path / "sheet.csv"
    with chat_server(lambda _, body: completion(verdict(1 + int(answer_in(body)[-1])))) as asked:
        assert judge(asked, answers, "--out", out, "--sheet", sheet).code == 0
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4
    assert not any(row[column] for row in table for column in JUDGE_SCALE.columns)
    for row in table:
        row |= dict.fromkeys(JUDGE_SCALE.columns, "3")
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    done = soundclip("eval", "agreement", out / "judged.jsonl", sheet, "--repeats", 20, "--json")
    assert done.code == 0, done.stderr
    assert [row["score"] for row in done.rows] == [f"{name}_score" for name in DIMENSIONS]
    # The judge gave 1 2 3 4, people 3 throughout.
    assert (done.rows[0]["n"], done.rows[0]["exact"], done.rows[0]["within_one"]) == (4, 0.25, 0.75)
    table[0]["fluency_score"] = "6"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    wrong = soundclip("eval", "agreement", out / "judged.jsonl", sheet)
    assert wrong.code == 1
    assert "fluency_score is '6'; give a whole number from 1 to 5" in wrong.error


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{}/none.jsonl"], 1, "none.jsonl: No such file"),
        (["{}/empty.jsonl"], 1, "empty.jsonl: has no answers"),
        (["{}/a.jsonl", "{}/a.jsonl"], 1, "the same settings as"),
        (["{}/a.jsonl", "--data", "{}/other.jsonl"], 1, "has no sample 'a'"),
        (["{}/bare.jsonl"], 1, "give --data"),
        (["{}/a.jsonl", "--with-frame"], 2, "--with-frame needs --data"),
        (["{}/a.jsonl", "--media", "{}"], 2, "--media needs --data"),
        (["{}/a.jsonl", "--sheet", "{}/s.xlsx"], 2, "a sheet is a .csv file"),
        (["{}/a.jsonl", "--max-cost", "1"], 2, "--max-cost needs --input-price"),
        (["{}/a.jsonl"], 1, "127.0.0.1:9"),
    ],
)
def test_errors(judge, tmp_path, arguments, code, words):
    write_lines(tmp_path / "a.jsonl", [line("a")])
    write_lines(tmp_path / "empty.jsonl", [])
    write_lines(tmp_path / "bare.jsonl", [{"id": "a", "question": "q", "answer": "x"}])
    write_lines(tmp_path / "other.jsonl", [{"id": "b", "reference": "r"}])
    given = [argument.format(tmp_path) for argument in arguments]
    done = judge("http://127.0.0.1:9/v1", *given, "--out", tmp_path / "out", "--timeout", 5)
    assert done.code == code
    assert words in done.error
    assert not [*(tmp_path / "out").glob("*.json*")]


def test_one_rater_is_none_to_compare(soundclip, tmp_path):
    one = soundclip("eval", "agreement", write_lines(tmp_path / "a.jsonl", [{"answer_id": "a"}]))
    assert one.code == 2
    two = soundclip("eval", "agreement", tmp_path / "a.jsonl", tmp_path / "a.jsonl")
    assert two.code == 1
    assert "has no column 'audio_quality_score'" in two.error
