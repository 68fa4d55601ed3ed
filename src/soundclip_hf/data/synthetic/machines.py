"""Synthetic sounds of vehicles and machines: (LENGTH,) float32 each, of any level, different on each call."""

from __future__ import annotations

import numpy as np

from .envelopes import beats, calls, curve, fading, placed, swell, wander
from .waves import TIME, cycles, detuned, harmonic, hiss, partials, samples, sine


def car(rng: np.random.Generator) -> np.ndarray:
    """A low rough engine whose speed goes up and down."""
    idle = detuned(rng, 48, 6)
    speed = idle * 2 ** np.clip(curve(rng.uniform(-0.2, 1.5, rng.integers(3, 6))), 0, 1.3)
    phase = cycles(speed.astype(np.float64) * (1 + 0.02 * wander(rng, 30)))
    engine = harmonic(phase, partials(150, rng.uniform(0.5, 1.1), [(rng.uniform(110, 420), 1.5)]), rng)
    rough = 1 + rng.uniform(0.2, 0.7) * sine(phase / 2)
    air = hiss(rng, rng.uniform(200, 900), 1.1) * rng.uniform(0.1, 0.45)
    return (engine * rough + air) * (speed / idle) ** rng.uniform(0.2, 1.2)


def train(rng: np.random.Generator) -> np.ndarray:
    """Chuffs of steam, every fourth the loudest, and often a whistle of three notes."""
    rate, seconds = rng.uniform(2.5, 6.5), rng.uniform(0.15, 0.4)
    steam = hiss(rng, detuned(rng, 700, 10), rng.uniform(0.7, 1.2), 0.6)[: samples(seconds)]
    puff = steam * fading(seconds, seconds / 3, 0.02)
    accent = rng.uniform(0.35, 0.8)
    times = beats(rng, rate, 0.05)
    clip = placed((time, puff * (1 if turn % 4 == 0 else accent)) for turn, time in enumerate(times))
    clip += rng.uniform(0.01, 0.06) * hiss(rng, rng.uniform(150, 400), 1.0)
    if rng.random() < 0.7:
        hertz, blow = detuned(rng, 420, 6), rng.uniform(0.5, 1.6)
        slide = 1 - 0.04 * fading(blow, 0.08)
        weights = partials(hertz * 2, rng.uniform(1.6, 3))
        chord = sum(harmonic(cycles(hertz * ratio * slide), weights, rng) for ratio in (1, 1.26, 1.5))
        first = rng.uniform(0, 3 - blow)
        clip += placed([(first, rng.uniform(0.08, 0.25) * chord * swell(blow, 0.08, 0.15))])
    return clip


def boat(rng: np.random.Generator) -> np.ndarray:
    """Long blasts of a low horn over water."""
    hertz = detuned(rng, 125, 7)
    weights = partials(hertz, rng.uniform(0.5, 1.3), [(rng.uniform(220, 700), 1.2)])
    second = rng.uniform(1.15, 1.55) if rng.random() < 0.4 else 0.0
    events = []
    for time, seconds in calls(rng, 0.7, 2.6, (0.15, 0.5)):
        size = samples(seconds)
        bend = 1 - 0.05 * fading(seconds, rng.uniform(0.03, 0.12)) + 0.003 * wander(rng, 5, size)
        wave = harmonic(cycles(hertz * bend), weights, rng)
        if second:
            wave = wave + harmonic(cycles(hertz * second * bend), weights, rng)
        events.append((time, wave * swell(seconds, rng.uniform(0.06, 0.25), rng.uniform(0.1, 0.4))))
    water = hiss(rng, rng.uniform(300, 900), 1.2) * (1 + 0.7 * wander(rng, 2))
    return placed(events) + rng.uniform(0.02, 0.15) * water


def helicopter(rng: np.random.Generator) -> np.ndarray:
    """Thumping filtered noise, 12 to 20 a second, and a faint turbine."""
    phase = cycles(rng.uniform(12, 20) * (1 + 0.02 * wander(rng, 2)).astype(np.float64))
    turn = (phase - np.floor(phase)).astype(np.float32)
    thump = np.exp(-turn * rng.uniform(2.5, 7)) * np.minimum(turn * rng.uniform(6, 20), 1)
    blades = hiss(rng, detuned(rng, 260, 9), rng.uniform(0.7, 1.2)) * (thump + rng.uniform(0, 0.15))
    tail = rng.uniform(0.02, 0.12) * sine(cycles(detuned(rng, 1400, 7)))
    return (blades + tail) * curve(10 ** (rng.uniform(-12, 0, 3) / 20))


def kettle(rng: np.random.Generator) -> np.ndarray:
    """A whistle that rises out of hissing steam."""
    top = detuned(rng, 2300, 6)
    bottom = top * rng.uniform(0.4, 0.75)
    bend = rng.uniform(0.1, 0.9)
    pitch = curve([bottom, bottom + (top - bottom) * bend, top, top * rng.uniform(0.97, 1.05)])
    pitch = pitch.astype(np.float64) * (1 + 0.006 * wander(rng, 14))
    tone = harmonic(cycles(pitch), np.array([1, rng.uniform(0.02, 0.4), rng.uniform(0, 0.1)]), rng)
    rise = curve([rng.uniform(0.1, 0.5), rng.uniform(0.4, 1), 1, 1])
    steam = hiss(rng, detuned(rng, 3200, 6), 0.8) * rng.uniform(0.15, 0.7)
    return tone * rise * (1 + 0.3 * wander(rng, 18)) + steam * curve(rng.uniform(0.5, 1, 4))


def fan(rng: np.random.Generator) -> np.ndarray:
    """A steady hum of blades and motor in rushing air."""
    hertz = detuned(rng, 120, 7)
    phase = cycles(hertz * (1 + 0.003 * wander(rng, 2)).astype(np.float64))
    hum = harmonic(phase, partials(hertz, rng.uniform(0.9, 1.8), [(rng.uniform(150, 600), 1.0)]), rng)
    turn = 1 + rng.uniform(0.02, 0.2) * sine(cycles(rng.uniform(2, 9)))
    return (hum * rng.uniform(0.25, 1) + hiss(rng, detuned(rng, 700, 9), 1.2) * rng.uniform(0.5, 1)) * turn


def siren(rng: np.random.Generator) -> np.ndarray:
    """A tone that sweeps up and down, slowly or in quick yelps."""
    low = detuned(rng, 620, 5)
    turns = (rng.uniform(0.3, 1.2) if rng.random() < 0.7 else rng.uniform(2, 4)) * TIME + rng.random()
    turns -= np.floor(turns)
    peak = rng.uniform(0.3, 0.7)
    sweep = np.where(turns < peak, turns / peak, (1 - turns) / (1 - peak)) ** rng.uniform(0.7, 1.4)
    pitch = low * rng.uniform(1.6, 2.6) ** sweep
    return harmonic(cycles(pitch), partials(low * 2.6, rng.uniform(0.9, 3)), rng) * (1 + 0.15 * wander(rng, 3))


def tap(rng: np.random.Generator) -> np.ndarray:
    """Running water: flickering noise with many small bubbles."""
    flow = hiss(rng, detuned(rng, 2200, 9), rng.uniform(0.7, 1.3)) * (1 + 0.5 * wander(rng, rng.uniform(8, 40)))
    base = detuned(rng, 900, 7)
    bubbles = []
    for _ in range(8):
        seconds, hertz = rng.uniform(0.03, 0.09), base * rng.uniform(0.5, 2.2)
        rise = hertz * (1 + rng.uniform(0.1, 0.6) * TIME[: samples(seconds)] / seconds)
        bubbles.append(sine(cycles(rise)) * fading(seconds, seconds / 4, 0.003))
    times = np.sort(rng.uniform(0, 3, rng.integers(25, 90)))
    which, loud = rng.integers(0, len(bubbles), len(times)), rng.uniform(0.1, 1, len(times))
    return flow * rng.uniform(0.15, 0.7) + placed((t, bubbles[k] * gain) for t, k, gain in zip(times, which, loud))
