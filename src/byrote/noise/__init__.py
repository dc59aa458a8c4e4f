"""Label noise: laws that turn true labels into observed labels, statistics of the result, and files to share it."""

from byrote.component import discover
from byrote.noise.asymmetric import Asymmetric, ClassConditional, PairFlip, PerClass, RandomMatrix, random_transition
from byrote.noise.base import Noise, TransitionNoise
from byrote.noise.instance import InstanceDependent, LookAlike, MarginDependent
from byrote.noise.latent import LatentClass
from byrote.noise.realised import Realised, realised
from byrote.noise.recorded import NoisyLabels, Recorded, load_labels, save_labels
from byrote.noise.symmetric import Clean, Convention, Symmetric, Uniform, convert_rate

__all__ = [
    "Asymmetric",
    "ClassConditional",
    "Clean",
    "Convention",
    "InstanceDependent",
    "LatentClass",
    "LookAlike",
    "MarginDependent",
    "Noise",
    "NoisyLabels",
    "PairFlip",
    "PerClass",
    "RandomMatrix",
    "Realised",
    "Recorded",
    "Symmetric",
    "TransitionNoise",
    "Uniform",
    "convert_rate",
    "load_labels",
    "random_transition",
    "realised",
    "save_labels",
]

discover(__name__)
