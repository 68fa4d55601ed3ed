"""`soundclip eval suite` and `report`: a list of commands in one run, which goes on where it stopped."""

import json

import pytest

from soundclip_hf.evaluation.results import EvalResult


@pytest.fixture
def results(tmp_path):
    for kind, (t1, score) in {"raw": (1.0, 0.5), "projected": (45.0, 0.4)}.items():
        metrics = {"a2v": {"t1": t1}, "gpt4o_overall": score}
        config = {"alignment": kind}
        EvalResult("both", "m", "d", 5, 0, metrics, {}, config=config).save(tmp_path / "made" / f"{kind}.json")
    return tmp_path / "made"


def write(path, *commands, **more):
    path.write_text(json.dumps({"commands": list(commands), **more}))
    return str(path)


def test_a_suite_runs_its_commands_and_writes_a_page(soundclip, tmp_path, results):
    files = f"{results}/raw.json {results}/projected.json"
    config = write(tmp_path / "c.yaml", f"soundclip tradeoff {files} --json", f"soundclip eval report {results}")
    done = soundclip("eval", "suite", "--config", config, "--out", str(results), "--json")
    assert done.code == 0, done.stderr
    assert [line["command"] for line in done.rows] == [
        f"soundclip tradeoff {files} --json",
        f"soundclip eval report {results}",
    ]
    assert "| alignment projected · a2v | 45 |" in (results / "README.md").read_text()


def test_a_page_of_somebody_else_is_not_replaced(soundclip, tmp_path, results):
    page = results / "README.md"
    page.write_text("# My own project\n")
    config = write(tmp_path / "c.yaml", "soundclip env --json")
    for command in (("report", results), ("suite", "--config", config, "--out", results)):
        done = soundclip("eval", *map(str, command))
        assert done.code == 1
        assert f"{page}: was not written by soundclip eval; move it away" in done.stderr
        assert page.read_text() == "# My own project\n"
        assert done.stdout == ""
    assert soundclip("eval", "report", str(results), "--overwrite").code == 0
    first = page.read_text()
    assert first.startswith("# Results")
    # Its own page is replaced, also after another title.
    assert soundclip("eval", "report", str(results), "--title", "Again").code == 0
    assert page.read_text().startswith("# Again")


def test_a_dry_run_in_json(soundclip, tmp_path):
    done = soundclip("eval", "suite", "--config", "eval/tiny", "--out", tmp_path / "s", "--dry-run", "--json")
    assert done.code == 0
    assert done.rows[0]["command"].startswith("soundclip eval retrieval --data synthetic")
    assert not (tmp_path / "s").exists()


def test_what_has_finished_is_not_run_again(soundclip, tmp_path, results):
    """The first command prints JSON each time that it runs; the second one fails until its file is there."""
    late = tmp_path / "late.json"
    config = write(tmp_path / "c.yaml", "soundclip env --json", f"soundclip tradeoff {late} {results}/raw.json")
    first = soundclip("eval", "suite", "--config", config, "--out", str(results))
    assert first.code == 1
    assert "late.json" in first.stderr
    assert "give the same command to continue" in first.stderr
    assert "transformers" in first.stdout
    late.write_bytes((results / "projected.json").read_bytes())
    second = soundclip("eval", "suite", "--config", config, "--out", str(results))
    assert second.code == 0, second.stderr
    assert "transformers" not in second.stdout
    assert "finished before" in second.stderr


def test_a_dry_run_prints_what_would_run(soundclip, tmp_path):
    config = write(tmp_path / "c.yaml", "soundclip eval report {out}")
    done = soundclip("eval", "suite", "--config", config, "--out", str(tmp_path / "o"), "--dry-run")
    assert done.stdout == f"soundclip eval report {tmp_path / 'o'}\n"
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("commands: []", "commands=[]; write a list of commands"),
        ("commands: [rm -rf x]", "'rm -rf x' is no command of soundclip"),
        ("commands: [soundclip eval suite --config x]", "is no command of soundclip other than a suite"),
        ("command: [soundclip env]", "unknown setting 'command'"),
        ("- a", "holds no settings"),
    ],
)
def test_configs_that_cannot_be_used(soundclip, tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    done = soundclip("eval", "suite", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "o"))
    assert done.code == 2
    assert message in done.stderr


def test_a_wrong_option_inside_a_suite_is_named(soundclip, tmp_path):
    config = write(tmp_path / "c.yaml", "soundclip env --wrong")
    done = soundclip("eval", "suite", "--config", config, "--out", str(tmp_path / "o"))
    assert done.code == 1
    assert "No such option" in done.stderr
    assert "soundclip env --wrong: ended with exit code 2" in done.stderr


def test_a_damaged_list_of_finished_commands_is_named(soundclip, tmp_path):
    config = write(tmp_path / "c.yaml", "soundclip env")
    (tmp_path / "suite.json").write_text("[1]")
    done = soundclip("eval", "suite", "--config", config, "--out", str(tmp_path))
    assert done.code == 1
    assert "remove it to run every command again" in done.stderr


def test_wildcards_are_expanded_as_a_shell_does(soundclip, tmp_path, results):
    config = write(tmp_path / "c.yaml", "soundclip tradeoff {out}/*.json")
    assert soundclip("eval", "suite", "--config", config, "--out", results).code == 0
