"""`soundclip eval geometry`: with data and with the embeddings of an earlier run, and what goes wrong."""

from soundclip_hf.evaluation.results import EvalResult


def test_with_data_and_with_what_it_kept(soundclip, tmp_path):
    cache, out = tmp_path / "e.safetensors", tmp_path / "g.json"
    words = ["eval", "geometry", "--data", "synthetic", "--limit", 30, "--cache", cache, "--folds", 3, "--out", out]
    done = soundclip(*words, "--json")
    assert done.code == 0
    found = EvalResult.load(out)
    assert found.task == "geometry"
    assert found.n == 30
    for name in ("raw_cka_debiased", "projected_cls_r2", "raw_infonce_nats"):
        low, high = found.interval(name)
        assert low < found.numbers()[name] < high
        assert f"shuffled.{name}" in found.numbers()
    assert done.rows[0]["metrics"] == found.metrics
    done = soundclip("eval", "geometry", "--cache", cache, "--folds", 3, "--out", tmp_path / "again.json")
    assert done.code == 0
    again = EvalResult.load(tmp_path / "again.json")
    assert again.metrics == found.metrics
    assert (again.model, again.dataset) == (found.model, found.dataset)
    assert again.config["ids_sha256"] == found.config["ids_sha256"]
    assert "linear CKA with [CLS]" in done.stdout
    assert "at most" in done.stdout
    assert soundclip(*words[:2], "--cache", cache, "--limit", 12, "--folds", 3, "--out", out).code == 0
    assert EvalResult.load(out).n == 12


def test_bad_command_lines(soundclip, tmp_path):
    out = ["--out", tmp_path / "g.json"]
    cache = ["--cache", tmp_path / "none.safetensors"]
    (tmp_path / "text").write_text("x")
    for words, code, message in (
        (out, 2, "give --data, or the --cache of an earlier run"),
        ([*cache, *out], 1, "none.safetensors: no such file; give --data"),
        (["--cache", tmp_path / "text", *out], 1, "text: is no readable safetensors file"),
        ([*cache, *out, "--model", "m"], 2, "--model goes with --data"),
        ([*cache, *out, "--temperature", 0], 2, "--temperature 0"),
        (["--data", "synthetic", "--limit", 4, *out], 1, "4 samples: at least 8 are needed; give more"),
    ):
        done = soundclip("eval", "geometry", *words)
        assert done.code == code, words
        assert message in done.error
    assert not (tmp_path / "g.json").exists()
