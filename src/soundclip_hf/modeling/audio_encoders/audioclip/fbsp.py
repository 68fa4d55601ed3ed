"""AudioCLIP's front end: a learned bank of complex frequency B-spline (FBSP) wavelets, in fp32 throughout."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from transformers import initialization as init

from ..float32_module import Float32Module
from .configuration_audioclip import AudioClipConfig

# Periodic Blackman-Harris.
_WINDOW_TERMS = (0.35875, -0.48829, 0.14128, -0.01168)


def frame_count(samples: int, win_length: int, hop_length: int) -> int:
    """Frames of a sound that has at least one; the last one may reach beyond its end."""
    return 1 + math.ceil((samples - win_length) / hop_length)


class FractionalBSplineBank(Float32Module):
    r"""
    Frames of the sound, windowed, against `n_fft // 2 + 1` kernels `sqrt(fb) sinc(fb t / m)^m exp(-i fc t)`, whose
    order `m`, bandwidth `fb` and centre `fc` are learned. The power of a negative sinc is complex: it has phase `pi m`.

    In half precision `fc`, a number up to 1024, would lose its fraction, and the logarithm of the power its meaning:
    everything here is and stays fp32, under autocast too.

    The kernels (13.5 MB) are made once and kept as long as the parameters stay what they are; with gradients, and in
    compiled graphs, they are made in each call.
    """

    def __init__(self, config: AudioClipConfig) -> None:
        super().__init__()
        bins = config.n_fft // 2 + 1
        self.n_fft, self.win_length, self.hop_length = config.n_fft, config.win_length, config.hop_length
        self.m = nn.Parameter(torch.zeros(bins, dtype=torch.float32))
        self.fb = nn.Parameter(torch.ones(bins, dtype=torch.float32))
        self.fc = nn.Parameter(torch.arange(bins, dtype=torch.float32))
        self.window: Tensor
        self.register_buffer("window", blackman_harris(config.win_length))
        self._made: tuple[tuple, Tensor] | None = None

    @torch.no_grad()
    def init_weights(self) -> None:
        """A Fourier transform: order 0, bandwidth 1, centres at whole multiples."""
        init.zeros_(self.m)
        init.ones_(self.fb)
        init.copy_(self.fc, torch.arange(self.fc.shape[0], dtype=torch.float32))
        init.copy_(self.window, blackman_harris(self.win_length))

    def frames(self, samples: Tensor) -> Tensor:
        """
        Cut `(n, samples)`, in int16 units, into windowed frames `(n, frames, win_length)`.

        A sound that does not end with a frame is extended with zeros on both sides, the smaller half before it.
        """
        length = samples.shape[-1]
        missing = (
            self.win_length + (frame_count(length, self.win_length, self.hop_length) - 1) * self.hop_length - length
        )
        # The original's map from int16 to [-1, 1], which leaves a small offset: not the same as a division.
        samples = (samples + 32768) * 2 / 65535 - 1
        samples = nn.functional.pad(samples, (missing // 2, missing - missing // 2))
        return samples.unfold(-1, self.win_length, self.hop_length) * self.window

    def kernels(self) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the kernels, each `(n_fft // 2 + 1, n_fft)`."""
        m, fb, fc = (parameter[:, None] for parameter in (self.m, self.fb, self.fc))
        t = torch.pi * sampling_points(self.n_fft).to(m.device, m.dtype) + 1e-8
        x = fb * t / (m + 1e-8)
        sinc = torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x)
        size = fb.sqrt() * sinc.abs().pow(m)
        turn = torch.where(sinc < 0, torch.pi * m, torch.zeros_like(m))
        # Two rotations rather than one by the sum of their angles: rounding the sum is most of the error (1e-6).
        cos, sin, scale = (fc * t).cos(), (fc * t).sin(), size / math.sqrt(self.n_fft)
        return scale * (turn.cos() * cos + turn.sin() * sin), scale * (turn.sin() * cos - turn.cos() * sin)

    def filters(self) -> Tensor:
        """The kernels where frames lie in them, as one matrix `(2 * bins, win_length)`: real parts, then imaginary."""
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and self.m.requires_grad):
            return self._make_filters()
        parameters = (self.m, self.fb, self.fc)
        if any(parameter.is_inference() for parameter in parameters):
            return self._make_filters()
        state = tuple((p._version, p.data_ptr(), p.device, p.dtype) for p in parameters)
        if self._made is None or self._made[0] != state:
            # Not as inference tensors, which a later call with gradients could not use.
            with torch.inference_mode(False), torch.no_grad():
                self._made = (state, self._make_filters())
        return self._made[1]

    def _make_filters(self) -> Tensor:
        before = (self.n_fft - self.win_length) // 2
        used = slice(0, 3 * (self.m.shape[0] // 3))
        return torch.cat([part[used, before : before + self.win_length] for part in self.kernels()])

    def forward(self, samples: Tensor) -> Tensor:
        """
        Decibels of `(n, samples)`, a sound in int16 units: `(n, 3, bins // 3, frames)`, the bins in three channels;
        those that make no whole third are left out.
        """
        with torch.autocast(samples.device.type, enabled=False):
            filters = self.filters()
            response = self.frames(samples.to(filters.dtype)) @ filters.T
            real, imaginary = response.chunk(2, dim=-1)
            power = (real.square() + imaginary.square()).transpose(1, 2)
            power = torch.where(power == 0, torch.full_like(power, 1e-18), power)
            return 10 * power.log10().unflatten(1, (3, -1))

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_made": None}


def blackman_harris(length: int) -> Tensor:
    """The periodic window of this length, fp32."""
    angles = 2 * np.pi * np.arange(length) / length
    window = sum(term * np.cos(number * angles) for number, term in enumerate(_WINDOW_TERMS))
    return torch.from_numpy(np.asarray(window)).float()


def sampling_points(count: int) -> Tensor:
    """
    `torch.linspace(-1, 1, count)` in fp32 as AVX2 and AVX-512 compute it, on every processor.

    Without their fused multiply-add nearly half of the points are the next fp32 number, and the kernels, with angles up
    to 1024 pi, differ by 1e-4 of their size.
    """
    # In fp64 these products and sums are exact, so that each point is rounded once, as by a fused multiply-add.
    step = torch.tensor(2 / (count - 1), dtype=torch.float32, device="cpu").double()
    index = torch.arange(count, dtype=torch.float64, device="cpu")
    return torch.where(index < count // 2, step * index - 1, 1 - step * (count - 1 - index)).float()


__all__ = ["FractionalBSplineBank", "blackman_harris", "frame_count", "sampling_points"]
