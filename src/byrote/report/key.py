"""The key at the top of the page: the meaning of every abbreviation and letter, with a link to the glossary."""

from __future__ import annotations

from byrote.analysis import Analysis
from byrote.analysis.series import in_order

__all__ = ["LETTERS", "LOSSES", "OF_TRUE_LABELS", "PAPERS", "key"]

LOSSES = {
    "CE": "cross-entropy",
    "LS": "label smoothing",
    "LR": "label relaxation",
    "MSE": "mean squared error on the logits",
    "MSE-p": "mean squared error on the probabilities",
    "RLL": "robust log loss",
    "nMSE": "normalized mean squared error",
}
"""The losses of the two papers, all of which the claims name."""
LETTERS = {
    "η, eta": "nominal noise rate, the parameter of the noise law",
    "ρ, rho": "share of labels that are wrong in a run",
    "J1": "share of training images predicted as their observed label, noise included",
    "J2": "share of training images predicted as their true label",
    "m": "share of wrong labels that the network repeats: they are memorized",
    "t": "share of wrongly labeled images predicted as their true class",
    "a": "share of correctly labeled images predicted as their label",
    "mem": "distance of wrongly labeled images from the mean of their true class, in the space of the features",
    "D": "mean distance between the class means of the test images",
    "NC1": "spread of the features within the classes, relative to the spread between them (neural collapse)",
    "h, u": "mean features of test images by class; of wrongly labeled images by their observed label",
    "N": "number of classes",
    "M": "number of features",
    "n": "number of seeds, runs or images from which a number was computed",
}
OF_TRUE_LABELS = frozenset({"ρ, rho", "J2", "m", "t", "a", "mem", "D", "h, u"})
"""The letters that a page does not use if the true labels of all its runs are unknown."""
PAPERS = {
    "MD": "Memorization-Dilation, Nguyen et al., ICLR 2023",
    "LF": "Does the Loss Function Matter?, Patel and Sastry, PAKDD 2021",
}


def key(analysis: Analysis) -> list[tuple[str, list[tuple[str, str]]]]:
    """The abbreviations of losses, letters and papers with their meanings; other losses are explained by their kind.

    If the true labels of all runs are unknown, the papers and the letters about true labels are left out.
    """
    kinds = dict(zip(analysis.runs["loss"].tolist(), analysis.field("loss.kind").tolist(), strict=True))
    further = {name: str(kinds[name]).replace("_", " ") for name in in_order(list(kinds)) if name not in LOSSES}
    named = {name: words for name, words in further.items() if name.lower() != words.lower()}
    losses = ("Losses", list((LOSSES | named).items()))
    if analysis.given.all():
        return [losses, ("Letters", [(name, words) for name, words in LETTERS.items() if name not in OF_TRUE_LABELS])]
    return [losses, ("Letters", list(LETTERS.items())), ("Papers", list(PAPERS.items()))]
