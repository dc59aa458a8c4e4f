"""The keys of the keyboard that stand for classes."""

from collections.abc import Sequence

__all__ = ["class_keys"]


def class_keys(names: Sequence[str]) -> dict[str, str]:
    """The class of each key; empty if it would be unclear which class a key means.

    Classes whose names are digits have these digits as keys. Up to ten classes with other names have the keys 1 to 9,
    then 0. Where only some names are digits, or there are more than ten classes, a class is chosen from a list.

    >>> class_keys(["ant", "bee"])
    {'1': 'ant', '2': 'bee'}
    >>> class_keys(["0", "1", "2"])
    {'0': '0', '1': '1', '2': '2'}
    >>> class_keys(["1", "10"])
    {}
    """
    digits = [name.isascii() and name.isdigit() for name in names]
    if all(digits) and all(len(name) == 1 for name in names):
        return {name: name for name in names}
    if any(digits) or len(names) > 10:
        return {}
    return {str(number % 10): name for number, name in enumerate(names, 1)}
