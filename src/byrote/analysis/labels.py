"""Name settings, data sets, networks, and losses by the fields in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

__all__ = ["PAPERS", "dataset_name", "dataset_of", "loss_names", "network_name", "subject", "titles"]

PAPERS: dict[str, dict[str, Any]] = {
    "CE": {"kind": "cross_entropy"},
    "LS": {"kind": "label_smoothing", "alpha": 0.1},
    "LR": {"kind": "label_relaxation", "alpha": 0.1},
    "MSE": {"kind": "mean_squared_error", "on": "logits"},
    "MSE-p": {"kind": "mean_squared_error", "on": "probabilities"},
    "RLL": {"kind": "robust_log", "alpha": 0.1},
    "nMSE": {"kind": "normalized_mse", "scale": 1.0},
}
"""The losses of the two papers as specs, by the names in claims; with a different parameter, a loss is another loss."""

_DATASETS = {
    "fashion_mnist": "Fashion-MNIST",
    "fashion_mnist_subset": "Fashion-MNIST subset",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar10n": "CIFAR-10N",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
}
_NETWORKS = {
    "mlp": "MLP",
    "inception_lite": "Inception-Lite",
    "resnet18": "ResNet-18",
    "resnet32": "ResNet-32",
    "cnn8": "CNN-8",
}
_WORDS = {
    "data.per_class": "{} images per class",
    "data.test_per_class": "{} test images per class",
    "data.preprocessing": "{} inputs",
    "data.resolution": "{} pixels",
    "data.labels": "labels {}",
    "network.depth": "depth {}",
    "network.width": "width {}",
    "network.feature_width": "M = {}",
    "noise.kind": "{} noise",
    "noise.path": "labels {:.6}",
    "start.kind": "started under {}",
    "training.epochs": "{} epochs",
    "training.batch_size": "batch {}",
    "training.optimizer.kind": "{}",
    "training.optimizer.lr": "lr {}",
    "training.optimizer.weight_decay": "weight decay {}",
    "training.dropout": "dropout {}",
    "training.precision": "{}",
    "training.clip": "clipping {}",
}
_NONE = {"start": "from scratch"}
_FOLLOWS = (
    "training.evaluate_every",
    "training.schedule.every",
)  # fields whose values follow from the number of epochs


def dataset_name(kind: str) -> str:
    """The name of a data set in papers; an unknown kind is returned unchanged.

    >>> dataset_name("cifar10"), dataset_name("my:Own")
    ('CIFAR-10', 'my:Own')
    """
    return _DATASETS.get(kind, kind)


def network_name(kind: str) -> str:
    """The name of a network in papers; an unknown kind is returned unchanged.

    >>> network_name("resnet32")
    'ResNet-32'
    """
    return _NETWORKS.get(kind, kind)


def dataset_of(fields: Mapping[str, Any]) -> str:
    """The data set of a setting, without regard to the chosen classes; a user's own files are told apart by content.

    >>> dataset_of({"data.kind": "mnist", "data.classes": [0, 1]})
    'MNIST'
    """
    name, content = dataset_name(str(fields.get("data.kind", ""))), fields.get("data.path")
    return f"{name} {str(content)[:6]}" if content else name


def subject(fields: Mapping[str, Any]) -> str:
    """The data set of a setting with its classes.

    >>> subject({"data.kind": "mnist", "data.classes": [0, 1]}), subject({"data.kind": "mnist"})
    ('MNIST 0/1', 'MNIST')
    """
    name = dataset_of(fields)
    classes = fields.get("data.classes")
    if not classes:
        return name
    return f"{name} {'/'.join(map(str, classes))}" if len(classes) <= 4 else f"{name}, {len(classes)} classes"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "/".join(map(_value, value))
    return "none" if value is None else str(value)


def _phrase(path: str, value: Any) -> str:
    """One field in words; a path without its own words is named by its last part.

    >>> _phrase("noise.kind", "pair_flip"), _phrase("training.clip", 1.0), _phrase("start", None)
    ('pair flip noise', 'clipping 1', 'from scratch')
    """
    *_, parent, leaf = ("", *path.split("."))
    text = _value(value).replace("_", " ") if leaf == "kind" and ":" not in str(value) else _value(value)
    if value is None and path in _NONE:
        return _NONE[path]
    if path in _WORDS and value is not None:
        return _WORDS[path].format(text)
    name = f"{parent} {leaf}" if leaf in ("kind", "path", "seed") else leaf
    return f"{name.replace('_', ' ')} {text}"


def titles(settings: Sequence[Mapping[str, Any]], runs: Sequence[int]) -> list[str]:
    """Create a title for each setting: its data, its network, and its differences from the main setting of that pair.

    The main setting of a pair (data, network) is the setting with the most runs, and the first of these in a tie. If
    noise laws differ, they are always named. No two settings have the same title: a number is added if necessary.

    Args:
        settings: the fields of each, by path.
        runs: the number of runs of each.

    >>> titles([{"data.kind": "mnist", "network.kind": "mlp", "network.width": w} for w in (8, 16)], [9, 3])
    ['MNIST, MLP', 'MNIST, MLP, width 16']
    """
    heads = [(subject(fields), network_name(str(fields.get("network.kind", "")))) for fields in settings]
    written: list[str] = []
    for head, fields in zip(heads, settings, strict=True):
        alike = [place for place, other in enumerate(heads) if other == head]
        main = settings[max(alike, key=lambda place: (runs[place], -place))]
        laws = {settings[place].get("noise.kind") for place in alike}
        law = fields.get("noise.kind")
        same_law = [settings[place] for place in alike if settings[place].get("noise.kind") == law]
        differing = [path for path in fields if _differs(path, main, fields)]
        if law != main.get("noise.kind"):  # the differences among the settings with a different law
            differing = [path for path in differing if not path.startswith("noise.")]
            differing += [path for path in fields if path.startswith("noise.") and _vary(path, same_law)]
        words = [_phrase("noise.kind", law)] if len(laws) > 1 and law is not None else []
        words += [_phrase(path, fields[path]) for path in differing if path != "noise.kind"]
        written.append(", ".join(word for word in (*head, *words) if word))
    counts, seen = Counter(written), Counter[str]()
    for place, text in enumerate(written):
        seen[text] += 1
        written[place] = f"{text} ({seen[text]})" if counts[text] > 1 else text
    return written


def _differs(path: str, main: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether a field distinguishes a setting from the main setting; fields that follow from the epochs do not."""
    if path in _FOLLOWS and main.get("training.epochs") != fields.get("training.epochs"):
        return False
    if fields[path] is None and path not in main:  # the main setting has a component that this setting lacks
        return any(other.startswith(f"{path}.") for other in main)
    return _value(main.get(path)) != _value(fields[path])


def _vary(path: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return len({_value(fields.get(path)) for fields in settings}) > 1


def loss_names(
    losses: Sequence[tuple[str, Mapping[str, Any]]], counts: Sequence[int], settings: Sequence[Collection[int]] = ()
) -> list[str]:
    """Name each loss: the papers' names for their losses, the bare short name for the main variant.

    The main variant is the variant with the most runs. The names of the other variants add the fields that tell them
    apart, so that no two losses of a setting have the same name. Losses that never occur in the same setting may have
    the same name: each is, for example, the cross-entropy of its own setting.

    Args:
        losses: the short name and the fields of each loss; fields that the study sets per loss have dotted paths.
        counts: the number of runs of each.
        settings: for each loss the numbers of the settings in which it was run (default: one setting for all).

    >>> variants = [("RLL", {"kind": "robust_log", "alpha": 0.1}), ("RLL", {"kind": "robust_log", "alpha": 0.45})]
    >>> loss_names(variants, [3, 9])
    ['RLL', 'RLL alpha .45']
    >>> bound = [("CE", {"kind": "cross_entropy"}), ("CE", {"kind": "cross_entropy", "training.optimizer.lr": 0.03})]
    >>> loss_names(bound, [3, 9], [{0}, {0}]), loss_names(bound, [3, 9], [{0}, {1}])
    (['CE (2)', 'CE'], ['CE', 'CE'])
    """
    order = sorted(range(len(losses)), key=lambda place: -counts[place])
    company = _company([short for short, _ in losses], settings or [{0}] * len(losses))
    plain: dict[int, Mapping[str, Any]] = {}
    names, seen = [""] * len(losses), Counter[tuple[int, str]]()
    for place in order:
        short, fields = losses[place]
        name = _loss_name(short, fields, plain.setdefault(company[place], {**fields, **PAPERS.get(short, {})}))
        seen[company[place], name] += 1
        number = seen[company[place], name]
        names[place] = f"{name} ({number})" if number > 1 else name  # the most common variant keeps the bare name
    return names


def _company(shorts: Sequence[str], settings: Sequence[Collection[int]]) -> list[int]:
    """For each loss, the first loss of the same short name that shares a setting with it, directly or via others."""
    first = list(range(len(shorts)))
    for _ in shorts:  # n rounds are enough to connect a chain of n losses
        for one, other in combinations(range(len(shorts)), 2):
            if shorts[one] == shorts[other] and not set(settings[one]).isdisjoint(settings[other]):
                first[one] = first[other] = min(first[one], first[other])
    return first


def _loss_name(short: str, fields: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    differing = [path for path in fields if fields[path] != plain.get(path)]
    words = [f"{path.rpartition('.')[2].replace('_', ' ')} {_value(fields[path])}" for path in differing]
    return " ".join([short, *words]).replace(" 0.", " .")
