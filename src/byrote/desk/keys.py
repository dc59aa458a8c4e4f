"""Assign keyboard keys to classes."""

from collections.abc import Sequence

__all__ = ["class_keys"]


def class_keys(names: Sequence[str]) -> dict[str, str]:
    """The class for each key; empty if keys would be ambiguous.

    If all class names are digits, these digits are the keys. Up to ten classes with other names get the keys 1 to 9,
    then 0. If only some names are digits, or if there are more than ten classes, the person chooses the class from a
    list.

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
