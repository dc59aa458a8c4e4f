"""The channel axis of stored images: inferred from the shape if only one choice is possible; otherwise an error is
raised."""

from typing import Any, Literal

import numpy as np

__all__ = ["Layout", "channels_first"]

Layout = Literal["", "nchw", "nhwc"]

_FEW = 4  # the most channels of an image: gray, gray and alpha, RGB, or RGBA


def _certain(shape: tuple[int, ...]) -> Layout:
    """The layout of images (n, a, b, c), empty if both layouts are possible.

    The channels are the first or the last of the axes a, b, c. If only one of these two axes has a length of 1 to 4, it
    is the channel axis, unless only the other choice makes the images square. If both or neither have such a length,
    the choice that makes the images square is taken, provided that only one choice does.
    """
    _, a, b, c = shape
    square: dict[Layout, bool] = {"nchw": b == c, "nhwc": a == b}
    few: dict[Layout, bool] = {"nchw": a <= _FEW, "nhwc": c <= _FEW}
    names: tuple[Layout, Layout] = ("nchw", "nhwc")
    for name, other in (names, names[::-1]):
        if few[name] and not few[other] and (square[name] or not square[other]):
            return name
        if few[name] == few[other] and square[name] and not square[other]:
            return name
    return "nchw" if a == b == c == 1 else ""


def channels_first(images: "np.ndarray[Any, Any]", layout: Layout, where: str) -> "np.ndarray[Any, Any]":
    """Convert stored images to (n, C, H, W); d features become d channels of 1x1, which are scaled separately.

    Args:
        images: (n, d), (n, H, W), (n, C, H, W) or (n, H, W, C).
        layout: "nchw" or "nhwc"; empty infers the layout from the shape.
        where: the name of the source in error messages.

    Raises:
        ValueError: a wrong rank, an empty image, or a shape that can be read both ways.

    Example:
        >>> channels_first(np.zeros((5, 28, 28, 3)), "", "a.npz").shape
        (5, 3, 28, 28)
        >>> channels_first(np.zeros((5, 3, 8, 3)), "", "a.npz")
        Traceback (most recent call last):
        ValueError: a.npz: images (5, 3, 8, 3) can be read as 3 channels of 8x3 or of 3x8: \
set layout='nchw' (channels first) or 'nhwc' (last)
    """
    shape = images.shape
    if 1 < images.ndim < 5 and shape[1:].count(0):
        raise ValueError(f"{where}: images need at least one pixel, got {shape}")
    if images.ndim == 2:
        images = images[:, :, None, None]
    elif images.ndim == 3:
        images = images[:, None]
    elif images.ndim != 4:
        raise ValueError(f"{where}: expected images (n, d), (n, H, W), (n, C, H, W) or (n, H, W, C), got {shape}")
    else:
        order = layout or _certain(shape)
        if not order:
            _, a, b, c = shape
            channels = f"{a} channels of {b}x{c} or " + (f"of {a}x{b}" if a == c else f"{c} channels of {a}x{b}")
            raise ValueError(
                f"{where}: images {shape} can be read as {channels}: "
                "set layout='nchw' (channels first) or 'nhwc' (last)"
            )
        images = images if order == "nchw" else images.transpose(0, 3, 1, 2)
    return images
