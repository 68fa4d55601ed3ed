"""A training prints one short line for each evaluation, and its log stays complete."""

import json


def test_one_line_an_epoch_and_a_complete_log(run, tmp_path, capsys):
    run("--logging_steps", 10)  # more than an epoch has
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("epoch ")]
    history = json.loads((tmp_path / "out" / "curve.json").read_text())
    measured = [entry for entry in history if "eval_loss" in entry]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(lines) == len(measured) == len(losses) == 2
    for number, (line, loss, entry) in enumerate(zip(lines, losses, measured), 1):
        assert line == (
            f"epoch {number} of 2: loss {loss:.4g}, learning rate 0.001, held-out loss {entry['eval_loss']:.4g}, "
            f"mean rank {entry['eval_a2v_mean_rank']:.4g} sound to picture, {entry['eval_v2a_mean_rank']:.4g} picture "
            f"to sound, T1 {entry['eval_a2v_t1']:.3g} %, {entry['eval_v2a_t1']:.3g} %"
        )
        assert {"eval_raw_a2v_mean_rank", "eval_chance_mean_rank", "eval_v2a_t10"} <= entry.keys()
    assert "{" not in shown.out + shown.err


def test_without_evaluation_the_loss_of_every_log_is_a_line(run, capsys):
    run("--eval_strategy", "no", "--lr_scheduler_type", "linear", "--lr_scheduler_kwargs", "{}", "--logging_steps", 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert [line.partition(":")[0] for line in lines] == [f"step {step} of 6" for step in (2, 4, 6)]
    assert all(": loss " in line and "learning rate" in line for line in lines)
