"""Synthetic sounds of instruments and struck things: (LENGTH,) float32 each, of any level, different on each call."""

from __future__ import annotations

import numpy as np

from .envelopes import beats, calls, curve, fading, placed, swell, wander
from .waves import LENGTH, RATE, cycles, detuned, harmonic, hiss, partials, ringing, samples, sine

_SCALES = ((0, 2, 4, 7, 9, 12), (0, 3, 5, 7, 10, 12), (0, 4, 7, 12), (0, 3, 7, 12))


def _melody(rng: np.random.Generator, hertz: float, notes: int) -> np.ndarray:
    """Pitches of a short tune over `hertz`, in Hz."""
    scale = _SCALES[rng.integers(len(_SCALES))]
    return hertz * 2 ** (rng.choice(scale, notes) / 12)


def bell(rng: np.random.Generator) -> np.ndarray:
    """Inharmonic partials that ring long, struck once or a few times."""
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.1, 5.3]) * rng.uniform(0.99, 1.01, 10)
    hertz = detuned(rng, 560, 7)
    decay = rng.uniform(0.35, 1.4) / ratios ** rng.uniform(0.4, 1.0)
    weights = ratios ** -rng.uniform(0.2, 1.2) * rng.uniform(0.4, 1, 10)
    strikes = beats(rng, rng.uniform(0.5, 2.2), 0.3)
    stroke = ringing(hertz * ratios, decay, weights, 3.0, rng)
    return placed((time, stroke * rng.uniform(0.5, 1)) for time in strikes)


def drum(rng: np.random.Generator) -> np.ndarray:
    """Low thumps in rhythm, with falling pitch and a slap of the skin."""
    hits = []
    for hertz in (detuned(rng, 85, 6), detuned(rng, 170, 6)):
        seconds, drop = rng.uniform(0.25, 0.6), rng.uniform(0.4, 1.4)
        fall = fading(seconds, rng.uniform(0.02, 0.05))
        body = sine(cycles(hertz * (1 + drop * fall))) * fading(seconds, rng.uniform(0.08, 0.2))
        slap = hiss(rng, rng.uniform(500, 2500), 0.9, seconds) * fading(seconds, rng.uniform(0.01, 0.06))
        hits.append(body + rng.uniform(0.1, 0.7) * slap)
    second = rng.uniform(0, 0.6)
    times = beats(rng, rng.uniform(1.8, 5), rng.uniform(0, 0.15))
    return placed((time, hits[int(rng.random() < second)] * rng.uniform(0.45, 1)) for time in times)


def guitar(rng: np.random.Generator) -> np.ndarray:
    """Plucked strings: bright at first, the high harmonics die soon."""
    place, bright = rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.5)
    long, damp = rng.uniform(0.35, 1.0), rng.uniform(0.1, 0.4)
    numbers = np.arange(1, 28)
    weights = np.abs(np.sin(np.pi * numbers * place)) * numbers**-bright
    times = beats(rng, rng.uniform(1.6, 5), 0.2)
    notes = _melody(rng, detuned(rng, 165, 6), len(times))
    decay = long / (1 + damp * numbers)
    plucks = {note: ringing(note * numbers, decay, weights, 1.2, rng) for note in np.unique(notes)}
    return placed((time, plucks[note] * rng.uniform(0.5, 1)) for time, note in zip(times, notes))


def piano(rng: np.random.Generator) -> np.ndarray:
    """Struck chords or notes of slightly stretched, beating strings, with the knock of the hammer."""
    numbers = np.arange(1, 16)
    stretch = numbers * np.sqrt(1 + rng.uniform(2e-4, 1.2e-3) * numbers**2)
    fall, long = rng.uniform(1.2, 2.2), rng.uniform(0.4, 1.1)
    base, beating = detuned(rng, 262, 7), rng.uniform(0.0005, 0.002)
    knock = hiss(rng, rng.uniform(150, 500), 0.6, 0.1) * fading(0.1, 0.015)
    events: list[tuple[float, np.ndarray]] = []
    sounded: dict[float, np.ndarray] = {}
    for time in beats(rng, rng.uniform(1.0, 3.2), 0.15):
        for note in _melody(rng, base, int(rng.integers(1, 4))):
            if note not in sounded:
                strings = np.concatenate([note * stretch, note * stretch * (1 + beating)])
                decay = np.tile(long / (1 + 0.12 * numbers), 2) * (262 / note) ** 0.4
                sounded[note] = ringing(strings, decay, np.tile(numbers**-fall, 2), 1.3, rng)
            events.append((time, sounded[note] * rng.uniform(0.4, 1)))
        events.append((time, knock * rng.uniform(0.1, 0.5)))
    return placed(events)


def trumpet(rng: np.random.Generator) -> np.ndarray:
    """Held brassy notes: louder is brighter, a scoop into the pitch and a late vibrato."""
    hertz, formant = detuned(rng, 330, 5), rng.uniform(1000, 1700)
    attack, rate, depth = rng.uniform(0.03, 0.12), rng.uniform(4, 6.5), rng.uniform(0, 0.012)
    bright = partials(hertz * 2, rng.uniform(0.2, 0.6), [(formant, 1.0)])
    dull = partials(hertz * 2, rng.uniform(1.4, 2.2))
    events = []
    for time, seconds in calls(rng, *((0.15, 0.5) if rng.random() < 0.4 else (0.6, 1.8)), (0.02, 0.25)):
        size, loud = samples(seconds), swell(seconds, attack, rng.uniform(0.05, 0.15))
        note = _melody(rng, hertz, 1)[0]
        late = curve([0, 0.2, 1, 1], size)
        pitch = note * (1 - 0.06 * fading(seconds, 0.03) + depth * late * sine(cycles(rate, size)))
        phase, edge = cycles(pitch), loud * rng.uniform(0.5, 1)
        events.append((time, loud * (harmonic(phase, dull, rng) * (1 - edge) + harmonic(phase, bright, rng) * edge)))
    return placed(events)


def flute(rng: np.random.Generator) -> np.ndarray:
    """Nearly pure notes with vibrato and breath."""
    hertz = detuned(rng, 620, 6)
    weights = np.array([1, rng.uniform(0.05, 0.4), rng.uniform(0.02, 0.15), rng.uniform(0, 0.05)])
    rate, depth, air = rng.uniform(3.5, 6.5), rng.uniform(0.003, 0.018), rng.uniform(0.05, 0.3)
    spans = calls(rng, *((0.12, 0.4) if rng.random() < 0.4 else (0.5, 1.6)), (0.0, 0.2))
    vibrato = sine(cycles(rate))
    pitch, loud = np.full(LENGTH, hertz), np.zeros(LENGTH, dtype=np.float32)
    for time, seconds in spans:
        first, size = int(time * RATE), samples(seconds)
        pitch[first : first + size] = _melody(rng, hertz, 1)[0]
        loud[first : first + size] = swell(seconds, rng.uniform(0.04, 0.12), 0.06)[: LENGTH - first]
    breath = air * hiss(rng, hertz * rng.uniform(1.2, 3), 0.7)
    tone = harmonic(cycles(pitch * (1 + depth * vibrato)), weights, rng)
    return loud * (tone * (1 + 12 * depth * vibrato) + breath)


def clock(rng: np.random.Generator) -> np.ndarray:
    """Regular ticks and tocks of a small wooden or metal case."""
    body = np.array([detuned(rng, 420, 7), detuned(rng, 1100, 7), detuned(rng, 2300, 7), detuned(rng, 3900, 5)])
    decay = np.array([0.07, 0.05, 0.035, 0.02]) * rng.uniform(0.6, 1.8)
    weights = rng.uniform(0.2, 1, 4)
    tock = rng.uniform(0.8, 0.97)
    ticks = [
        ringing(body * ratio, decay, weights, 0.35, rng)
        + rng.uniform(0, 0.6) * hiss(rng, 2500, 1.0, 0.35) * fading(0.35, 0.006)
        for ratio in (1, tock)
    ]
    loud = (1, rng.uniform(0.5, 1))
    times = beats(rng, rng.uniform(2, 5), 0.02)
    return placed((time, ticks[turn % 2] * loud[turn % 2]) for turn, time in enumerate(times))


def hammer(rng: np.random.Generator) -> np.ndarray:
    """Sharp knocks with a metallic ring, at uneven times."""
    ring = np.sort(rng.uniform(1100, 5000, 4)) * rng.uniform(0.7, 1.3)
    hertz = np.concatenate([[detuned(rng, 110, 6), detuned(rng, 340, 6)], ring])
    decay = np.concatenate([rng.uniform(0.03, 0.1, 2), rng.uniform(0.04, 0.25, 4)])
    weights = np.concatenate([rng.uniform(0.5, 1.2, 2), rng.uniform(0.1, 0.6, 4)])
    knock = ringing(hertz, decay, weights, 0.8, rng)
    knock[: samples(0.08)] += rng.uniform(0.3, 1) * hiss(rng, rng.uniform(700, 2500), 1.2, 0.08) * fading(0.08, 0.008)
    times = beats(rng, rng.uniform(1.6, 4.5), 0.9)
    return placed((time, knock * rng.uniform(0.4, 1)) for time in times)


def phone(rng: np.random.Generator) -> np.ndarray:
    """Two tones in a 20 Hz flutter, in the cadence of a telephone."""
    hertz, ratio = detuned(rng, 900, 7), rng.uniform(1.12, 1.4)
    flutter = sine(cycles(rng.uniform(16, 25)))
    weights = partials(hertz * ratio, rng.uniform(1.2, 3.5))
    if rng.random() < 0.6:
        wave = harmonic(cycles(hertz * np.where(flutter > 0, ratio, 1.0)), weights, rng)
    else:
        pair = harmonic(cycles(hertz), weights, rng) + harmonic(cycles(hertz * ratio), weights, rng)
        wave = pair * (1 + rng.uniform(0.6, 0.95) * flutter)
    on, off = ((0.35, 0.18), (0.9, 0.4), (0.2, 0.1), (1.6, 0.6))[rng.integers(4)]
    on, off = on * rng.uniform(0.85, 1.15), off * rng.uniform(0.85, 1.15)
    gate = placed((time, swell(on, 0.008, 0.03)) for time in np.arange(0, 3, on + off))
    return wave * gate * (1 + 0.1 * wander(rng, 3))
