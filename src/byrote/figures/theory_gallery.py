"""The finished figures from theory, each with a title, a caption, and the corresponding figure of the paper."""

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
    """Compute the named figures of `GALLERY`, or all of them, with the solvers.

    Args:
        names: the figures to draw.
        alpha, penalty, eta, slope, law: the parameters of the figures; `penalty` is the value of both lambdas.

    Raises:
        ValueError: no figure has one of these names.
    """
    unknown = [name for name in names if name not in GALLERY]
    if unknown:
        raise ValueError(f"expected one of the theory figures {', '.join(GALLERY)}, got {unknown[0]!r}")
    at = f"lambda_W = lambda_H = {penalty:g}"
    drawn = []
    for name in names or GALLERY:
        if name == "theory-model":
            pair = {n: dilation(a, penalty, penalty, eta, slope, law) for n, a in (("CE", 0.0), ("LS", alpha))}
            subtitle = (
                f"Solutions at {at}, eta = {eta:g}, C_MD = {slope:g}, LS alpha = {alpha:g}. Crosses: class means; "
                "circles: standard deviation r of the clean samples; diamonds: corrupted samples; line from h2 to u1: "
                "what was memorized; dashed: the path of u1 as C_MD grows from 0; dotted: the constraint."
            )
            title = "The memorization-dilation model, to scale"
            drawn.append(Figure.of(name, title, "MD Fig. 3", subtitle, model_plane(pair)))
        elif name == "theory-collapse":
            subtitle = (
                "Logit gap of the global minimum, positive features. In the orange strip the printed condition of "
                "Theorem 3.2 holds and the minimizer is W = H = 0."
            )
            title = "When the layer-peeled model collapses to zero"
            drawn.append(Figure.of(name, title, "MD Theorem 3.2", subtitle, collapse_diagram()))
        elif name == "theory-order":
            subtitle = f"Dilation under CE over dilation under LS (alpha = {alpha:g}) at {at}; 4,160 solved points."
            chart = order_map(alpha, penalty)
            drawn.append(Figure.of(name, "Where Theorem 4.3's order holds", "MD Theorem 4.3", subtitle, chart))
        elif name == "theory-noise":
            subtitle = f"Optima of CE, LS, LR (alpha = {alpha:g}) and MSE on logits at {at}, {law} law."
            chart = dilation_against_noise(alpha, penalty, slope, law)
            drawn.append(Figure.of(name, "Optimal dilation against noise, by loss", "MD Theorem 4.3", subtitle, chart))
        else:
            subtitle = (
                "All local minima met at lambda_W = lambda_H = 1e-4, C_MD = .3, N = 2. Filled: the lowest. "
                "Which of two is reached depends on the start."
            )
            drawn.append(Figure.of(name, "Bounded losses have two minima", "past the paper", subtitle, two_minima()))
    return drawn
