"""One run at a time in an output folder: a lock that names its holder, and that ends with it.

It is the system's own lock (flock) on a hidden file, which also says in words who holds it. A process that ends, however it does,
holds nothing any more; a file that one which was killed has left is nobody's. Processes that work together may share a lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = ".tased.lock"  # of the file where a whole folder is held
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # of file systems, mostly of networks


class HeldError(RuntimeError):
    """What another process holds."""


class Lock:
    """Holds a folder, or what a file in it stands for, until `release` or the end of the process; a context manager.

    Parameters
    ----------
    path
        The hidden file, which vanishes in the end. Folders on the way to it are made.
    shared
        Whether others may share the lock. It is held until the last of them lets go, and names the one that came last.

    Raises
    ------
    HeldError
        If another process holds it, in a sentence that names the process.
    OSError
        If the file cannot be made.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.shared = path, shared
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._take()
                if self._is_there():
                    break
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # it was released and removed between the two calls
        _held.add(self)
        with suppress(OSError):  # of a full disk: then nobody is named
            os.truncate(self._file, 0)
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Lets go; a second time is nothing."""
        if self._file >= 0:
            with suppress(OSError):
                if not self.shared or self._is_last():
                    self.path.unlink()  # while it is held, so that it is nobody else's
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _take(self) -> None:
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                holder = os.pread(self._file, 300, 0).decode(errors="replace").strip() or "another run"
                raise HeldError(
                    f"{self.path.parent}: {holder} is writing here: wait for it, or name another folder"
                ) from None
            if error.errno not in NO_LOCKS:
                raise

    def _is_last(self) -> bool:
        """Makes a shared lock one's own, or gives it up if others have it; of several that let go at once, one is the last."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in NO_LOCKS
        return self._is_there()

    def _is_there(self) -> bool:
        """Whether the file that is open is the one that has the name."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        _held.discard(self)
        os.close(self._file)
        self._file = -1


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _forget() -> None:
    """What is forked holds nothing: it may live on when the run that holds has been killed."""
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_forget)
