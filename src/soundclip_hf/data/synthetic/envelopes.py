"""When the synthetic sounds come and how loud they are: curves, envelopes, events. Times are in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .waves import LENGTH, RATE, SECONDS, TIME, samples


def curve(points: Sequence[float] | np.ndarray, size: int = LENGTH) -> np.ndarray:
    """A smooth line through evenly spaced points, level at each of them: (size,) float32."""
    values = np.asarray(points, dtype=np.float32)
    # All stretches have one shape, so it is computed once.
    rise = np.linspace(0, 1, -(-size // (len(values) - 1)), endpoint=False, dtype=np.float32)
    rise = rise * rise * (3 - 2 * rise)
    return (values[:-1, None] + np.diff(values)[:, None] * rise).reshape(-1)[:size]


def wander(rng: np.random.Generator, per_second: float, size: int = LENGTH) -> np.ndarray:
    """A slow random curve between -1 and 1 with so many turns per second: (size,) float32."""
    return curve(rng.uniform(-1, 1, max(int(per_second * size / RATE), 1) + 2), size)


def swell(seconds: float, attack: float, release: float) -> np.ndarray:
    """Loudness of a held note: up within `attack`, down within `release`, (samples,) float32."""
    size = samples(seconds)
    envelope = np.ones(size, dtype=np.float32)
    up, down = min(samples(attack), size), min(samples(release), size)
    envelope[:up] *= 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, up, dtype=np.float32))
    envelope[size - down :] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, down, dtype=np.float32))
    return envelope


def fading(seconds: float, decay: float, attack: float = 0.002) -> np.ndarray:
    """Loudness of a struck or blown burst: a short rise, then an exponential fall, (samples,) float32."""
    size = samples(seconds)
    envelope = np.exp(TIME[:size].astype(np.float32) * np.float32(-1 / decay))
    up = min(samples(attack), size)
    envelope[:up] *= np.linspace(0, 1, up, dtype=np.float32)
    return envelope


def placed(events: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
    """A clip with each wave added at its time; what passes the end is cut: (LENGTH,) float32."""
    clip = np.zeros(LENGTH, dtype=np.float32)
    for time, wave in events:
        first = int(time * RATE)
        if first < LENGTH:
            part = wave[: LENGTH - first]
            clip[first : first + len(part)] += part
    return clip


def beats(rng: np.random.Generator, per_second: float, jitter: float) -> np.ndarray:
    """Times over the clip, about evenly spaced; `jitter` is a share of the spacing. (events,) float64."""
    spacing = 1 / per_second
    times = np.arange(0, SECONDS - 0.05, spacing)
    return np.clip(times + jitter * spacing * rng.uniform(-0.5, 0.5, len(times)), 0, SECONDS)


def calls(rng: np.random.Generator, shortest: float, longest: float, pause: tuple[float, float]) -> list:
    """(start, length) of calls that fill the clip, one after the other with pauses between."""
    found, time = [], 0.0
    while time < SECONDS - 0.5 * shortest:
        length = float(rng.uniform(shortest, longest))
        found.append((time, length))
        time += length + float(rng.uniform(*pause))
    return found
