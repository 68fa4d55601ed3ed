"""Synthetic voices of animals: (LENGTH,) float32 each, of any level, different on each call."""

from __future__ import annotations

import numpy as np

from .envelopes import calls, curve, placed, swell, wander
from .waves import LENGTH, cycles, detuned, harmonic, hiss, partials, samples, sine


def _rough(rng: np.random.Generator, size: int, depth: float) -> np.ndarray:
    """Irregular quick loudness of a hoarse voice, (size,) float32."""
    return 1 + depth * wander(rng, 90, size)


def dog(rng: np.random.Generator) -> np.ndarray:
    """Barks: short, harsh, pitch up and quickly down."""
    hertz, hoarse = detuned(rng, 380, 7), rng.uniform(0.2, 0.7)
    weights = partials(hertz * 1.4, rng.uniform(0.3, 0.9), [(rng.uniform(550, 1200), 1.2), (2200, 0.3)])
    length = rng.uniform(0.1, 0.2)
    events = []
    for time, seconds in calls(rng, length, length * 1.4, (0.08, rng.uniform(0.15, 0.45))):
        size = samples(seconds)
        pitch = hertz * curve([0.75, rng.uniform(1.1, 1.4), 1.0, 0.6], size).astype(np.float64)
        voice = harmonic(cycles(pitch), weights, rng) * _rough(rng, size, hoarse)
        breath = hiss(rng, 1100, 0.9, seconds) * rng.uniform(0.2, 0.7)
        events.append((time, (voice + breath) * swell(seconds, 0.015, seconds * 0.6) * rng.uniform(0.6, 1)))
    return placed(events)


def cat(rng: np.random.Generator) -> np.ndarray:
    """Meows: the pitch arches and the mouth opens and closes."""
    hertz, open_at = detuned(rng, 520, 6), rng.uniform(1300, 2300)
    closed = partials(hertz * 1.5, 1.2, [(rng.uniform(500, 900), 1.0)])
    opened = partials(hertz * 1.5, 0.5, [(open_at, 1.2), (open_at * 1.9, 0.5)])
    events = []
    for time, seconds in calls(rng, 0.45, 1.3, (0.15, 0.45)):
        size = samples(seconds)
        pitch = hertz * curve([0.85, rng.uniform(1.15, 1.5), rng.uniform(1, 1.3), 0.75], size).astype(np.float64)
        phase = cycles(pitch * (1 + 0.008 * sine(cycles(rng.uniform(4, 8), size))))
        mouth = curve([0, 1, rng.uniform(0.5, 1), 0], size)
        voice = harmonic(phase, closed, rng) * (1 - mouth) + harmonic(phase, opened, rng) * mouth
        events.append((time, voice * swell(seconds, 0.08, seconds * 0.4)))
    return placed(events)


def bird(rng: np.random.Generator) -> np.ndarray:
    """High chirps, each a quick glide or a trill, in short phrases."""
    hertz, length = detuned(rng, 3400, 6), rng.uniform(0.05, 0.22)
    shapes = [2 ** rng.uniform(-0.4, 0.4, rng.integers(2, 5)) for _ in range(rng.integers(1, 4))]
    trill, depth = rng.uniform(18, 45), rng.uniform(0, 0.06)
    events = []
    for time, seconds in calls(rng, length, length * 1.5, (0.02, rng.uniform(0.06, 0.3))):
        size = samples(seconds)
        glide = curve(shapes[rng.integers(len(shapes))], size) * (1 + depth * sine(cycles(trill, size)))
        pitch = np.minimum(hertz * glide.astype(np.float64), 7000)
        events.append((time, sine(cycles(pitch)) * swell(seconds, 0.015, 0.03) * rng.uniform(0.3, 1)))
    return placed(events)


def owl(rng: np.random.Generator) -> np.ndarray:
    """Soft hoots: nearly pure, low, short ones and long ones."""
    hertz, droop = detuned(rng, 370, 6), rng.uniform(0.03, 0.15)
    weights = np.array([1, rng.uniform(0.02, 0.25), rng.uniform(0, 0.08)])
    events = []
    for time, seconds in calls(rng, 0.16, rng.uniform(0.3, 0.8), (0.08, 0.3)):
        size = samples(seconds)
        pitch = hertz * (1 + droop * (curve([-0.5, 1, 0.6, -0.6], size) - 0.5)).astype(np.float64)
        breath = hiss(rng, hertz * 1.5, 0.5, seconds) * rng.uniform(0.03, 0.2)
        wave = (harmonic(cycles(pitch), weights, rng) + breath) * swell(seconds, 0.06, 0.1)
        events.append((time, wave * rng.uniform(0.5, 1)))
    return placed(events)


def duck(rng: np.random.Generator) -> np.ndarray:
    """Nasal quacks, often a row that grows softer and lower."""
    hertz, row = detuned(rng, 230, 6), rng.uniform(0, 0.12)
    nose = rng.uniform(1000, 1700)
    weights = partials(hertz * 1.2, 0.25, [(nose, 1.2), (nose * rng.uniform(1.6, 2.2), 0.8)])
    length = rng.uniform(0.1, 0.26)
    events = []
    for turn, (time, seconds) in enumerate(calls(rng, length, length * 1.3, (0.05, rng.uniform(0.1, 0.35)))):
        size, sink = samples(seconds), (1 - row) ** turn
        pitch = hertz * sink**0.4 * curve([0.95, 1.12, 1.0, 0.85], size).astype(np.float64)
        voice = harmonic(cycles(pitch), weights, rng) * _rough(rng, size, 0.4)
        events.append((time, voice * swell(seconds, 0.02, seconds * 0.4) * max(sink, 0.3)))
    return placed(events)


def frog(rng: np.random.Generator) -> np.ndarray:
    """Croaks: trains of pulses that ring in the throat."""
    throat, rate = detuned(rng, 800, 7), rng.uniform(22, 65)
    events = []
    for time, seconds in calls(rng, 0.15, rng.uniform(0.3, 0.8), (0.1, rng.uniform(0.2, 0.4))):
        size = samples(seconds)
        turns = cycles(rate * curve([rng.uniform(0.8, 1.1), 1, rng.uniform(1, 1.35)], size).astype(np.float64))
        turns -= np.floor(turns)
        pulse = np.exp(-turns.astype(np.float32) * np.float32(rng.uniform(3, 7)))
        # The throat rings anew with each pulse, so its phase counts from there.
        ring = sine(turns * throat / rate) + 0.4 * sine(turns * throat * 2.3 / rate)
        events.append((time, ring * pulse * swell(seconds, 0.04, 0.06)))
    return placed(events)


def bee(rng: np.random.Generator) -> np.ndarray:
    """A buzz that wobbles in pitch and loudness as it flies about."""
    hertz = detuned(rng, 200, 5)
    flight = wander(rng, rng.uniform(2, 6))
    pitch = hertz * (1 + rng.uniform(0.03, 0.12) * flight + 0.015 * wander(rng, 40)).astype(np.float64)
    weights = partials(hertz * 1.15, rng.uniform(0.4, 1.0), [(rng.uniform(300, 900), 0.8), (2400, 0.2)])
    near = 10 ** ((7 * flight + 6 * wander(rng, rng.uniform(1, 4))) / 20)
    return harmonic(cycles(pitch), weights, rng) * near * _rough(rng, LENGTH, 0.25)


def cow(rng: np.random.Generator) -> np.ndarray:
    """Moos: a long low glide, up and then down."""
    hertz = detuned(rng, 125, 6)
    closed = partials(hertz * 1.4, 1.0, [(rng.uniform(180, 350), 1.5)])
    opened = partials(hertz * 1.4, 0.5, [(rng.uniform(400, 800), 1.5), (1300, 0.3)])
    events = []
    for time, seconds in calls(rng, 0.9, 2.4, (0.2, 0.5)):
        size = samples(seconds)
        pitch = hertz * curve([0.75, rng.uniform(1, 1.2), rng.uniform(1.1, 1.35), 0.8], size).astype(np.float64)
        phase = cycles(pitch * (1 + 0.01 * wander(rng, 25, size)))
        mouth = curve([0, rng.uniform(0.3, 1), 1, 0.4], size)
        voice = harmonic(phase, closed, rng) * (1 - mouth) + harmonic(phase, opened, rng) * mouth
        events.append((time, voice * _rough(rng, size, 0.2) * swell(seconds, 0.15, seconds * 0.3)))
    return placed(events)


def sheep(rng: np.random.Generator) -> np.ndarray:
    """Bleats: a nasal voice with a strong tremolo."""
    hertz, rate, depth = detuned(rng, 330, 6), rng.uniform(6, 12), rng.uniform(0.35, 0.8)
    nose = rng.uniform(900, 1600)
    weights = partials(hertz * 1.1, 0.3, [(nose, 1.1), (nose * 2, 0.5)])
    events = []
    for time, seconds in calls(rng, 0.45, 1.3, (0.15, 0.4)):
        size = samples(seconds)
        shake = sine(cycles(rate * rng.uniform(0.9, 1.1), size))
        pitch = hertz * (curve([0.9, 1.05, 1.0, 0.88], size) * (1 + 0.03 * shake)).astype(np.float64)
        voice = harmonic(cycles(pitch), weights, rng) * (1 + depth * shake) * _rough(rng, size, 0.2)
        events.append((time, voice * swell(seconds, 0.05, seconds * 0.3)))
    return placed(events)
