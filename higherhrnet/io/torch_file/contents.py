"""The errors for unusable contents of a file of torch.save, and the bounds of their size."""

from __future__ import annotations

_MAX_DEPTH = 100
_MAX_CONTAINERS = 500_000


class ContentsError(Exception):
    """The contents of a file are damaged or not supported; the message does not name the file."""


class DamagedError(ContentsError):
    """A file is damaged or incomplete."""


def damaged(detail: str) -> DamagedError:
    """Returns the error for a damaged file."""
    return DamagedError(f"damaged or incomplete: {detail}; download it again")


def check_tree(contents: object, max_size: int) -> None:
    """Checks that contents can be copied or printed in bounded time.

    Values that occur repeatedly are shared in memory, but copied or printed each time: a list of
    two references to a list of two references to … grows without bound.

    Args:
        contents: dictionaries, lists, tuples and sets that contain each other and other values.
        max_size: the maximum number of values and characters, counted each time they occur.

    Raises:
        ContentsError: the contents are larger, nested too deep, or contain themselves.
    """
    measured: dict[int, tuple[int, int]] = {}  # depth and size of each finished container
    enclosing: set[int] = set()
    stack = [contents]
    while stack:
        value = stack[-1]
        if id(value) in measured:
            stack.pop()
            continue
        children = _children(value)
        if id(value) not in enclosing:
            enclosing.add(id(value))
            inner = [child for child in children if isinstance(child, _CONTAINERS) and child]
            if len(enclosing) > _MAX_DEPTH or any(id(child) in enclosing for child in inner):
                raise ContentsError(_TOO_DEEP)
            stack += inner
            if inner:
                continue
        stack.pop()
        enclosing.remove(id(value))
        depth = size = 1
        for child in children:
            inner_depth, inner_size = measured.get(id(child)) or (0, _leaf_size(child))
            depth, size = max(depth, inner_depth + 1), size + inner_size
        if depth > _MAX_DEPTH:
            raise ContentsError(_TOO_DEEP)
        if size > max_size:
            raise ContentsError("its values occur repeatedly, which weights do not need")
        if len(measured) > _MAX_CONTAINERS:
            raise ContentsError(
                f"it has more than {_MAX_CONTAINERS:,} dictionaries, lists and tuples, which "
                "weights do not need; save the network's state_dict() alone"
            )
        measured[id(value)] = depth, size


_CONTAINERS = (dict, list, tuple, set)
_TOO_DEEP = f"its values contain themselves or are nested more than {_MAX_DEPTH} deep"


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else []


def _leaf_size(value: object) -> int:
    return 1 + len(value) if isinstance(value, str | bytes) else 1
