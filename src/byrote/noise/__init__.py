"""Label noise: laws that turn true labels into observed ones, what they made, and files to share it."""

from byrote.noise.base import Noise, TransitionNoise
from byrote.noise.realised import Realised, realised
from byrote.noise.recorded import NoisyLabels, Recorded, load, save
from byrote.noise.symmetric import Clean, Convention, Symmetric, Uniform, convert

__all__ = [
    "Clean",
    "Convention",
    "Noise",
    "NoisyLabels",
    "Realised",
    "Recorded",
    "Symmetric",
    "TransitionNoise",
    "Uniform",
    "convert",
    "load",
    "realised",
    "save",
]
