"""The instructions of pickles that weights need, and the interpreter of a pickle."""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from higherhrnet.io.torch_file.contents import ContentsError, check_tree, damaged
from higherhrnet.io.torch_file.machine import PickleMachine

_MAX_INSTRUCTIONS = 4_000_000
"""A tensor needs about 30 instructions, and a file of weights fewer than 1,000,000."""


def load_pickle(
    file: BinaryIO,
    values: Mapping[str, Any],
    load_storage: Callable[[tuple[Any, ...]], Any] | None = None,
) -> Any:  # noqa: ANN401
    """Returns the contents of a pickle without running code of it.

    Args:
        file: the file, at the start of the pickle; it is left at the end of the pickle.
        values: the values of the global names that the pickle may contain.
        load_storage: returns the storage of a persistent ID; None: the pickle has no storages.

    Raises:
        ContentsError: the pickle is damaged, contains another global name, has too many
            instructions, or its contents contain themselves.
    """
    start = file.tell()
    machine = PickleMachine(file, values, load_storage)
    try:
        _run(machine, file)
        contents = machine.pop()
    except (LookupError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise damaged("its pickle is invalid") from error
    check_tree(contents, 16 * (file.tell() - start) + 1_000_000)
    return contents


def _run(machine: PickleMachine, file: BinaryIO) -> None:
    for _ in range(_MAX_INSTRUCTIONS):
        code = file.read(1)
        if code == b".":
            return
        if code not in _INSTRUCTIONS:
            raise _unknown_instruction(code)
        _INSTRUCTIONS[code](machine)
    raise ContentsError(
        f"its pickle has more than {_MAX_INSTRUCTIONS:,} instructions, which weights do not "
        "need; save the network's state_dict() alone"
    )


def _unknown_instruction(code: bytes) -> ContentsError:
    if not code:
        return damaged("it ends within its pickle")
    known = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
    if code not in known:
        return damaged("its pickle is invalid")
    return ContentsError(
        f"its pickle has the instruction {known[code]}, which weights do not need: the file is "
        "damaged, or torch.save did not write it; download it again"
    )


_INSTRUCTIONS: dict[bytes, Callable[[PickleMachine], object]] = {
    b"\x80": lambda m: m.bytes(1),  # PROTO
    b"\x95": lambda m: m.bytes(8),  # FRAME
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.integer(1)),  # BININT1
    b"M": lambda m: m.push(m.integer(2)),
    b"J": lambda m: m.push(m.integer(4, signed=True)),
    b"\x8a": lambda m: m.push(m.integer(m.integer(1), signed=True)),  # LONG1
    b"G": lambda m: m.push(struct.unpack(">d", m.bytes(8))[0]),
    b"X": lambda m: m.push(m.string(4)),  # BINUNICODE
    b"\x8c": lambda m: m.push(m.string(1)),
    b"\x8d": lambda m: m.push(m.string(8)),
    b"U": lambda m: m.push(m.python2_string(1)),  # SHORT_BINSTRING
    b"T": lambda m: m.push(m.python2_string(4)),
    b"C": lambda m: m.push(m.bytes(m.integer(1))),  # SHORT_BINBYTES
    b"B": lambda m: m.push(m.bytes(m.integer(4))),
    b"\x8e": lambda m: m.push(m.bytes(m.integer(8))),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b")": lambda m: m.push(()),
    b"(": lambda m: m.mark(),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.push(m.last(1)),  # TUPLE1
    b"\x86": lambda m: m.push(m.last(2)),
    b"\x87": lambda m: m.push(m.last(3)),
    b"a": lambda m: m.append(m.last(1)),
    b"e": lambda m: m.append(m.since_mark()),
    b"s": lambda m: m.set_items(m.last(2)),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"q": lambda m: m.memoize(m.integer(1)),  # BINPUT
    b"r": lambda m: m.memoize(m.integer(4)),
    b"\x94": lambda m: m.memoize_next(),
    b"h": lambda m: m.recall(m.integer(1)),  # BINGET
    b"j": lambda m: m.recall(m.integer(4)),
    b"c": lambda m: m.push_global(m.line(), m.line()),
    b"\x93": lambda m: m.push_global(*m.last(2)),  # STACK_GLOBAL
    b"i": lambda m: m.instance(),  # INST: an object of Python 2
    b"R": lambda m: m.call(*m.last(2)),
    b"\x81": lambda m: m.call(*m.last(2)),  # NEWOBJ
    b"o": lambda m: m.call_since_mark(),  # OBJ: an object of Python 2
    b"b": lambda m: m.build(),
    b"Q": lambda m: m.persistent_id(),
}
