"""Building blocks of the synthetic sounds: tones, struck bodies, noises. Times are in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

RATE = 16000
SECONDS = 3.0
LENGTH = int(RATE * SECONDS)
TIME = np.arange(LENGTH) / RATE

# Partials above this would fold back when a pitch glides up.
_TOP_HZ = 7400.0
_TABLE = 2048
_BLOCK = 256


def samples(seconds: float) -> int:
    """Samples in a stretch of time, at least one and at most a whole clip."""
    return min(max(int(seconds * RATE), 1), LENGTH)


def detuned(rng: np.random.Generator, hertz: float, semitones: float) -> float:
    """`hertz` moved by up to `semitones` up or down."""
    return float(hertz * 2 ** (rng.uniform(-semitones, semitones) / 12))


def cycles(hertz: float | np.ndarray, size: int = LENGTH) -> np.ndarray:
    """Phase in cycles, (size,) float64, of a fixed pitch or of one given for each sample."""
    if isinstance(hertz, np.ndarray):
        return np.cumsum(hertz[:size]) / RATE
    return hertz * TIME[:size]


def sine(phase: np.ndarray) -> np.ndarray:
    """A sine of the phase in cycles, float32."""
    # Reduced in double precision: a float32 sine of thousands of radians is noisy.
    return np.sin((2 * np.pi * (phase - np.floor(phase))).astype(np.float32))


def partials(hertz: float, fall: float, formants: Sequence[tuple[float, float]] = ()) -> np.ndarray:
    """Amplitudes of the harmonics 1, 2, … of a pitch: number ** -fall, raised near the formants.

    Args:
        hertz: the highest pitch they will be played at.
        fall: exponent; 0 is a buzz, 3 is nearly a sine.
        formants: (centre in Hz, gain) pairs; each is about half an octave wide.
    """
    numbers = np.arange(1, max(int(_TOP_HZ / hertz), 1) + 1)
    weights = numbers ** -float(fall)
    lift = np.full(len(numbers), 0.08 if formants else 1.0)
    for centre, gain in formants:
        lift += gain * np.exp(-0.5 * (np.log2(numbers * hertz / centre) / 0.3) ** 2)
    return weights * lift


def harmonic(phase: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of the phase in cycles with these amplitudes and random phases, float32, unit RMS over a cycle."""
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    count = min(len(weights), _TABLE // 4)
    spectrum[1 : count + 1] = weights[:count] * np.exp(2j * np.pi * rng.random(count))
    table = np.fft.irfft(spectrum, _TABLE)
    table = (table / np.sqrt(np.mean(table**2))).astype(np.float32)
    return table[(phase * _TABLE).astype(np.int64) & (_TABLE - 1)]


def ringing(hertz: np.ndarray, decay: np.ndarray, weights: np.ndarray, seconds: float, rng: np.random.Generator):
    """A struck body: a sum of decaying sines.

    Args:
        hertz: (partials,) frequencies; those above the range are left out.
        decay: (partials,) time constants in seconds.
        weights: (partials,) amplitudes.

    Returns:
        (samples,) float32.
    """
    size = samples(seconds)
    kept = hertz < _TOP_HZ
    power = (-1 / decay[kept] + 2j * np.pi * hertz[kept]) / RATE
    start = weights[kept] * np.exp(2j * np.pi * rng.random(len(power)))
    # exp(p(a + b)) = exp(pa) exp(pb): a product of two small matrices instead of a long exponential for each partial.
    blocks = np.exp(np.outer(np.arange(0, size, _BLOCK), power)) * start
    within = np.exp(np.outer(power, np.arange(_BLOCK)))
    wave = (blocks.astype(np.complex64) @ within.astype(np.complex64)).real.reshape(-1)[:size]
    rise = min(32, size)
    wave[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    return wave


def shaped_noise(rng: np.random.Generator, gain: np.ndarray, size: int = LENGTH) -> np.ndarray:
    """Noise with these gains from 0 Hz to half the rate, evenly spaced: (size,) float32, unit RMS."""
    bins = len(gain)
    spectrum = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64) * gain
    spectrum[0] = 0
    wave = np.fft.irfft(spectrum, 2 * (bins - 1))[:size].astype(np.float32)
    return wave / (np.sqrt(np.mean(wave**2)) + 1e-12)


@lru_cache(maxsize=16)  # one for each power of two
def _octaves(size: int) -> np.ndarray:
    """log2 of the frequencies of a Fourier transform in Hz, float32; 1 Hz stands for 0."""
    return np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1)).astype(np.float32)


def hiss(rng: np.random.Generator, centre: float, octaves: float, seconds: float = SECONDS) -> np.ndarray:
    """Noise around a frequency (Hz), a bell curve of this width over octaves: (samples,) float32, unit RMS."""
    size = samples(seconds)
    whole = LENGTH if size > 2**15 else max(2 ** (size - 1).bit_length(), 256)
    away = (_octaves(whole) - np.float32(np.log2(centre))) / np.float32(octaves)
    return shaped_noise(rng, np.exp(-0.5 * away * away), size)
