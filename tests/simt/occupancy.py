"""How many threads of a kernel a multiprocessor holds at once: what CUDA's occupancy calculator computes."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32
REGISTERS = 65536  # of a multiprocessor, a quarter for each of its four partitions
_PARTITIONS = 4
_REGISTER_UNIT = 256  # of a warp


@dataclass(frozen=True)
class Multiprocessor:
    """What a multiprocessor of a compute capability has room for (CUDA C++ Programming Guide, compute capabilities).

    Attributes
    ----------
    warps, blocks : int
        The most that are resident.
    shared : int
        Shared memory in bytes.
    reserved : int
        Shared memory that the driver takes for itself in every block, in bytes.
    shared_unit : int
        Bytes that shared memory is given out in.
    """

    warps: int
    blocks: int
    shared: int
    reserved: int = 1024
    shared_unit: int = 128


MULTIPROCESSORS = {
    75: Multiprocessor(32, 16, 64 * 1024, reserved=0, shared_unit=256),
    80: Multiprocessor(64, 32, 164 * 1024),
    86: Multiprocessor(48, 16, 100 * 1024),
    89: Multiprocessor(48, 24, 100 * 1024),
    90: Multiprocessor(64, 32, 228 * 1024),
    100: Multiprocessor(64, 32, 228 * 1024),
    120: Multiprocessor(48, 24, 100 * 1024),
}


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def resident_blocks(architecture: int, threads: int, registers: int, shared: int) -> int:
    """Blocks that a multiprocessor holds at once.

    Parameters
    ----------
    architecture : int
        The compute capability, 90 for 9.0.
    threads : int
        Of a block.
    registers : int
        Of a thread, as ptxas reports them.
    shared : int
        Static and dynamic shared memory of a block in bytes.
    """
    room = MULTIPROCESSORS[architecture]
    warps = -(-threads // WARP)
    # Registers are given out to whole warps, in the partition where the warp is.
    in_partition = REGISTERS // _PARTITIONS // _round_up(registers * WARP, _REGISTER_UNIT)
    by_shared = room.shared // max(_round_up(shared + room.reserved, room.shared_unit), 1)
    return min(room.blocks, room.warps // warps, in_partition * _PARTITIONS // warps, by_shared)


def occupancy(architecture: int, threads: int, registers: int, shared: int) -> float:
    """The share of the resident warps that there is room for: 1 where nothing but the device limits them."""
    blocks = resident_blocks(architecture, threads, registers, shared)
    return blocks * -(-threads // WARP) / MULTIPROCESSORS[architecture].warps
