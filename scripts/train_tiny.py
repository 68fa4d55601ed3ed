"""Train the bundled model on synthetic scenes: the paper's recipe in small, on two CPU cores.

    python scripts/train_tiny.py [--out src/soundclip_hf/bundled/tiny] [--work out/tiny] [--scale 1.0] [--seed 0]

Stages: a CLIP-shaped tower and a LLaVA-shaped captioner of pictures alone; beside them, in a second process, a
Whisper-shaped encoder of sounds alone; the sound projector between the two, by the alignment trainer, everything else
frozen; and the measurements on held-out scenes, of which the card is made. Each stage is kept in --work, and a run that
was stopped goes on there.
"""

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tiny import assemble, captioner, ears, measure, vision, world

from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.results import EvalResult

# At --scale 1.
SCENES, SOUNDS, PAIRS, VALIDATION_PAIRS = 40_000, 20_000, 16_000, 1000
VISION_STEPS, CAPTIONER_STEPS, EARS_STEPS, PROJECTOR_STEPS = 2400, 1600, 2600, 1500
TEST_SCENES = 1000


class Stages:
    """Runs what has not been done, and keeps how long each stage took, stops and starts included."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"seconds-{name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, dict[str, float]] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        wall, cpu = time.monotonic(), _cpu_seconds()
        try:
            yield
        finally:
            known = self.seconds.setdefault(name, {"wall": 0.0, "cpu": 0.0})
            known["wall"] += time.monotonic() - wall
            known["cpu"] += _cpu_seconds() - cpu
            temporary = self.path.with_name(f".{self.path.name}.tmp")
            temporary.write_text(json.dumps(self.seconds, indent=2) + "\n")
            temporary.replace(self.path)

    def once(self, name: str, result: Path, make: Callable[[Path], Any]) -> Path:
        """Call `make` with a new folder, which becomes `result`, unless that is there."""
        if result.is_dir():
            return result
        temporary = result.with_name(f".{result.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with self.timed(name):
            make(temporary)
        temporary.replace(result)
        return result


def _cpu_seconds() -> float:
    """Of this process and the children that have ended."""
    return sum(os.times()[:4])


@dataclass(frozen=True)
class Run:
    """Where a run keeps its stages, and how large it is."""

    root: Path
    scale: float
    seed: int
    threads: int

    @property
    def work(self) -> Path:
        return self.root / f"{self.scale:g}-{self.seed}"

    def scaled(self, number: int) -> int:
        return max(8, round(number * self.scale))


def learn_pictures(run: Run, is_alone: Callable[[], bool]) -> None:
    """Tower and captioner, which never meet a sound. The captioner takes all threads if the sounds' side is done."""
    torch.set_num_threads(max(1, run.threads // 2))

    def make(folder: Path) -> None:
        scenes = world.arrays(world.pictures, run.root / "scenes", world.TRAIN, run.scaled(SCENES), 1)
        tower = vision.fit(scenes, run.work, run.scaled(VISION_STEPS), run.seed)
        if is_alone():
            torch.set_num_threads(run.threads)
        tokens = vision.encode(tower, scenes["pictures"])
        llava, processor = captioner.fit(tower, scenes, tokens, run.work, run.scaled(CAPTIONER_STEPS), run.seed)
        llava.save_pretrained(folder)
        processor.save_pretrained(folder)

    Stages(run.work, "pictures").once("tower and captioner", run.work / "llava", make)


def learn_sounds(run: Run) -> None:
    """The encoder, which never meets a picture; one of random weights; and the pairs for the projector."""
    torch.set_num_threads(max(1, run.threads // 2))
    stages = Stages(run.work, "sounds")

    def make_ears(folder: Path) -> None:
        heard = world.arrays(world.features, run.root / "scenes", world.TRAIN, run.scaled(SOUNDS), 1)
        assemble.save_encoder(ears.fit(heard, run.work, run.scaled(EARS_STEPS), run.seed).encoder, folder)

    def make_random_ears(folder: Path) -> None:
        torch.manual_seed(run.seed + 1)
        assemble.save_encoder(ears.make_encoder().eval(), folder)

    stages.once("ears", run.work / "ears", make_ears)
    stages.once("random ears", run.work / "random-ears", make_random_ears)
    stages.once(
        "pairs",
        run.work / "pairs",
        lambda folder: assemble.write_pairs(folder, run.scaled(PAIRS), run.scaled(VALIDATION_PAIRS), 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--work", type=Path, default=Path("out/tiny"), help="Stages are kept here.")
    parser.add_argument("--scale", type=float, default=1.0, help="Of scenes and steps; below 1 for a trial.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    run = Run(arguments.work, arguments.scale, arguments.seed, arguments.threads)
    seed, scale, work, scaled = run.seed, run.scale, run.work, run.scaled

    ears_process = get_context("spawn").Process(target=learn_sounds, args=(run,))
    ears_process.start()
    try:
        learn_pictures(run, lambda: not ears_process.is_alive())
    except BaseException:
        ears_process.terminate()
        raise
    ears_process.join()
    if ears_process.exitcode:
        raise SystemExit("the sounds' side failed, see above; run again, it goes on where it stopped")
    torch.set_num_threads(run.threads)
    stages = Stages(work, "projector")
    llava, pairs = work / "llava", work / "pairs"
    reports: dict[str, Any] = {}
    for name, ears_folder in (("trained ears", work / "ears"), ("random ears", work / "random-ears")):
        slug = name.replace(" ", "-")
        with stages.timed(f"projector, {name}"):
            aligned = assemble.align(
                llava, ears_folder, pairs, work / f"projector-{slug}", work / "cache", scaled(PROJECTOR_STEPS), seed
            )
        path = work / f"report-{slug}.json"
        if not path.is_file():
            with stages.timed(f"measurements, {name}"):
                subject = measure.Subject(*assemble.load(aligned))
                number = scaled(TEST_SCENES)
                budgets = measure.BUDGETS if name == "trained ears" else (8,)
                found = {
                    "retrieval": measure.retrieval(subject, number, seed),
                    "questions": measure.hearing(subject, number, budgets),
                }
            EvalResult(
                task="synthetic scenes",
                model="tiny" if name == "trained ears" else "tiny, with a random encoder and a trained projector",
                dataset=f"soundclip_hf.data.synthetic.scenes, scenes from {world.TEST}",
                n=number,
                seed=seed,
                metrics=found,
                error_bars={
                    "of": "each mean: Wilson's or normal 95 % interval, beside it; retrieval: sd and bootstrap"
                },
                config={"scale": scale, "token_budget": assemble.TOKEN_BUDGET},
            ).save(path)
        reports[name] = EvalResult.load(path)

    provenance = {
        "trained": True,
        "world": "synthetic",
        "seed": seed,
        "scale": scale,
        "script": "scripts/train_tiny.py",
        "steps": {
            "vision": scaled(VISION_STEPS),
            "captioner": scaled(CAPTIONER_STEPS),
            "ears": scaled(EARS_STEPS),
            "projector": scaled(PROJECTOR_STEPS),
        },
        "scenes": {"pictures": scaled(SCENES), "sounds": scaled(SOUNDS), "pairs": scaled(PAIRS)},
        "seconds": {
            name: {clock: round(value) for clock, value in spent.items()}
            for side in ("pictures", "sounds", "projector")
            for name, spent in Stages(work, side).seconds.items()
        },
        "threads": arguments.threads,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "soundclip-hf")},
        },
    }
    assemble.save_bundle(work / "projector-trained-ears", arguments.out, provenance, reports)
    for file in sorted(arguments.out.iterdir()):
        print(f"{file.stat().st_size:>9,}  {file}")


if __name__ == "__main__":
    main()
