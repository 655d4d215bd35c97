"""The stack machine for the pickles in files of torch.save.

A pickle is a program for a stack machine. Python's own machine is not used, because a file can make
it call any function, allocate any amount of memory and compute for an unlimited time. This one
calls only functions of a given table, and bounds what each instruction does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from higherhrnet.io.torch_file.contents import ContentsError, damaged

_MAX_OTHER_KEYS = 20_000
"""Keys that are not strings have known hash values, so that a file could make them collide."""


class Ignored:
    """Replaces the objects of classes that only training uses; their contents are dropped."""

    def __repr__(self) -> str:
        return "IGNORED"


IGNORED = Ignored()
"""Replaces both an ignored class and its objects: calling it gives itself."""


@dataclass(frozen=True)
class Function:
    """A function that pickles may call; it checks its arguments itself."""

    call: Callable[..., Any]


class PickleMachine:
    """Has a method for each kind of instruction in a pickle.

    Methods that fail on a damaged pickle raise ContentsError, LookupError, TypeError or ValueError.

    Args:
        file: the file, at the start of the pickle.
        values: the values of the global names that the pickle may contain. Other names raise
            ContentsError.
        load_storage: returns the storage of a persistent ID, which is a tuple.
    """

    def __init__(
        self,
        file: BinaryIO,
        values: Mapping[str, Any],
        load_storage: Callable[[tuple[Any, ...]], Any] | None,
    ) -> None:
        self._file = file
        self._values = values
        self._load_storage = load_storage
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._other_keys = 0
        self._copied = 0

    def pop(self) -> Any:  # noqa: ANN401
        """Removes and returns the last value."""
        return self._stack.pop()

    def bytes(self, count: int) -> bytes:
        """Reads bytes."""
        data = self._file.read(count)
        if len(data) < count:
            raise damaged("it ends within its pickle")
        return data

    def integer(self, count: int, *, signed: bool = False) -> int:
        """Reads an integer of `count` bytes."""
        return int.from_bytes(self.bytes(count), "little", signed=signed)

    def string(self, count: int) -> str:
        """Reads the length of a string, an integer of `count` bytes, and the string."""
        return self.bytes(self.integer(count)).decode()

    def python2_string(self, count: int) -> str:
        """Reads the length of a byte string of Python 2, and the byte string as a string."""
        data = self.bytes(self.integer(count))
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def line(self) -> str:
        """Reads a line, which is a part of a global name."""
        line = self._file.readline(1000)
        if not line.endswith(b"\n"):
            raise damaged("its pickle is invalid")
        return line[:-1].decode()

    def push(self, value: object) -> None:
        """Appends a value to the stack."""
        self._stack.append(value)

    def mark(self) -> None:
        """Remembers the size of the stack."""
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """Removes and returns the values that are above the last mark."""
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def last(self, count: int) -> tuple[Any, ...]:
        """Removes and returns the last values."""
        if len(self._stack) < count:
            raise IndexError
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def memoize(self, index: int) -> None:
        """Stores the last value under a number."""
        self._memo[index] = self._stack[-1]

    def memoize_next(self) -> None:
        """Stores the last value under the next number."""
        self.memoize(len(self._memo))

    def recall(self, index: int) -> None:
        """Appends the value with this number to the stack."""
        self._stack.append(self._memo[index])

    def append(self, items: list[Any] | tuple[Any, ...]) -> None:
        """Appends items to the last list."""
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif target is not IGNORED:
            raise TypeError

    def set_items(self, items: list[Any] | tuple[Any, ...]) -> None:
        """Sets keys and values, which alternate, of the last dictionary."""
        target = self._stack[-1]
        if target is IGNORED:
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def key(self, value: Any) -> Any:  # noqa: ANN401
        """Checks that hashing and comparing a key take little time, and returns it."""
        parts = value if type(value) is tuple and len(value) <= 8 else (value,)
        for part in parts:
            if type(part) is int:
                valid = part.bit_length() <= 64
            elif type(part) in (str, bytes):
                valid = len(part) <= 1000
            else:
                valid = part is None or type(part) in (bool, float)
            if not valid:
                raise ContentsError(
                    "a key in it is neither a short string nor a number; save the network's "
                    "state_dict() alone"
                )
        self._other_keys += type(value) is not str
        if self._other_keys > _MAX_OTHER_KEYS:
            raise ContentsError(
                f"more than {_MAX_OTHER_KEYS:,} keys in it are not strings; save the network's "
                "state_dict() alone"
            )
        return value

    def push_global(self, module: object, name: object) -> None:
        """Appends the value of a global name to the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"  # as in Python 2
        if full not in self._values:
            shown = "".join(c if c.isprintable() else "?" for c in full[:200])
            raise ContentsError(
                f"not loaded, because it would run {shown}, which weights do not need; save the "
                "network's state_dict() in its own environment and convert that file"
            )
        self._stack.append(self._values[full])

    def call(self, function: object, arguments: object) -> None:
        """Calls a function of the table and appends its result to the stack."""
        self._stack.append(self.result(function, arguments))

    def result(self, function: object, arguments: object) -> Any:  # noqa: ANN401
        """Returns the result of a function of the table, or IGNORED for an ignored class."""
        if not isinstance(arguments, tuple):
            raise TypeError
        if function is IGNORED:
            return IGNORED
        if not isinstance(function, Function):
            raise TypeError
        # A string or list that the file contains once can be copied many times.
        self._copied += sum(len(a) for a in arguments if isinstance(a, str | list | tuple))
        if self._copied > 4 * self._file.tell():
            raise ContentsError("its pickle copies values repeatedly, which weights do not need")
        return function.call(self, *arguments)

    def call_since_mark(self) -> None:
        """Calls the first value above the last mark with the other values."""
        function, *arguments = self.since_mark()
        self.call(function, tuple(arguments))

    def instance(self) -> None:
        """Calls a global name with the values above the last mark."""
        self.push_global(self.line(), self.line())
        function = self._stack.pop()
        self.call(function, tuple(self.since_mark()))

    def build(self) -> None:
        """Drops the attributes of a dictionary or of an ignored object."""
        attributes, target = self._stack.pop(), self._stack[-1]
        if target is not IGNORED and not (isinstance(target, dict) and type(attributes) is dict):
            raise TypeError

    def persistent_id(self) -> None:
        """Replaces a persistent ID by its storage."""
        identifier = self._stack.pop()
        if type(identifier) is not tuple or self._load_storage is None:
            raise TypeError
        self._stack.append(self._load_storage(identifier))
