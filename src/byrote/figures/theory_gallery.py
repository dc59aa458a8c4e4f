"""The figures of the theory laboratory, finished: each with its title, the paper's figure and a caption."""

from __future__ import annotations

from byrote.figures.base import Figure
from byrote.figures.theory_collapse import collapse_diagram
from byrote.figures.theory_model import model_plane
from byrote.figures.theory_noise import dilation_against_noise
from byrote.figures.theory_order import order_map
from byrote.figures.theory_paths import two_minima
from byrote.theory import dilation

__all__ = ["GALLERY", "theory_figures"]

GALLERY = ("theory-model", "theory-collapse", "theory-order", "theory-noise", "theory-two-minima")


def theory_figures(
    *names: str, alpha: float = 0.1, penalty: float = 1e-3, eta: float = 0.06, slope: float = 1.0, law: str = "circle"
) -> list[Figure]:
    """The named figures of `GALLERY`, or all of them, computed now from the solvers.

    Args:
        names: which. alpha, penalty (both lambdas), eta, slope, law: the parameter point they are drawn at.

    Raises:
        ValueError: there is no figure of that name.
    """
    unknown = [name for name in names if name not in GALLERY]
    if unknown:
        raise ValueError(f"theory figures are {', '.join(GALLERY)}, got {unknown[0]!r}")
    at = f"lambda_W = lambda_H = {penalty:g}"
    drawn = []
    for name in names or GALLERY:
        if name == "theory-model":
            pair = {n: dilation(a, penalty, penalty, eta, slope, law) for n, a in (("CE", 0.0), ("LS", alpha))}
            title, paper, chart = "The memorization-dilation model, to scale", "MD Fig. 3", model_plane(pair)
            said = (
                f"Solutions at {at}, eta = {eta:g}, C_MD = {slope:g}, LS alpha = {alpha:g}. Crosses: class means; circles: standard "
                "deviation r of the clean samples; diamonds: corrupted samples; arrow: what was memorised; dashed: the path of u1 as "
                "C_MD grows from 0; dotted: the constraint."
            )
        elif name == "theory-collapse":
            title, paper, chart = "When the layer-peeled model collapses to zero", "MD Theorem 3.2", collapse_diagram()
            said = "Logit gap of the global minimum, positive features. In the orange strip the printed condition of Theorem 3.2 holds and the minimiser is W = H = 0."
        elif name == "theory-order":
            title, paper, chart = "Where Theorem 4.3's order holds", "MD Theorem 4.3", order_map(alpha, penalty)
            said = f"Dilation under CE over dilation under LS (alpha = {alpha:g}) at {at}; 4,160 solved points."
        elif name == "theory-noise":
            chart = dilation_against_noise(alpha, penalty, slope, law)
            title, paper = "Optimal dilation against noise, by loss", "MD Theorem 4.3"
            said = f"Closed-form (MSE on logits) and solved (CE, LS, LR; alpha = {alpha:g}) optima at {at}, {law} law."
        else:
            title, paper, chart = "Bounded losses have two minima", "past the paper", two_minima()
            said = "All local minima of the model at lambda_W = lambda_H = 1e-4, C_MD = .3, N = 2. Filled: the global one. Which of two is reached depends on the start."
        drawn.append(Figure(name, title, paper, said, chart))
    return drawn
