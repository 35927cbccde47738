"""`Session`: evaluates a model in one thread beside others."""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import TYPE_CHECKING, Any

from ._arrays import FloatArray
from ._errors import DynaMoEError
from ._library import check, integer
from ._memory import Functions, Handle
from .inference import Inference

if TYPE_CHECKING:
    from .model import Model


class Session(Inference):
    """Evaluates a model in one thread beside others, all on the same weights.

    Made by `Model.session`. A session has the memory of its evaluations, its routing statistics and
    its latest routing to itself, and no copy of the weights, which it keeps alive. Its results have
    the bits of the model's own evaluation. While a call works the interpreter lock is released.

    Between calls the model may be trained or changed; the next call sees the new weights. Nobody
    waits: a call while another thread changes the model raises DynaMoEError, and so does a change
    of the model while a session evaluates, and a second thread in one session.

    Examples
    --------
    >>> sessions = queue.SimpleQueue()
    >>> for _ in range(4):
    ...     sessions.put(model.session())
    >>> def serve(rows):
    ...     session = sessions.get()
    ...     try:
    ...         return session.predict(rows)
    ...     finally:
    ...         sessions.put(session)
    >>> with ThreadPoolExecutor(4) as pool:
    ...     answers = list(pool.map(serve, batches))
    """

    _noun = "session"
    _c = Functions("session")

    def __init__(self, model: Model, threads: int = 1) -> None:
        count = integer(threads, "threads", 1, 256)
        handle = model._live()
        out = ctypes.c_void_p()
        check(self._c.create(handle.address, byref(out)))
        if not out.value:
            raise DynaMoEError("the library made no handle and reported no error")
        self._handle = Handle(out.value, self._c.free)
        self._reader = model._reader
        self._layer_count = model._layer_count
        self._experts = list(model._experts)
        self._text = model._summary()
        self.threads = count

    @property
    def threads(self) -> int:
        """Threads that work on a call, 1 to 256 and no more than `set_threads`; assignable."""
        self._live()
        return self._threads

    @threads.setter
    def threads(self, count: int) -> None:
        value = integer(count, "threads", 1, 256)
        check(self._c.threads_set(self._live().address, value))
        self._threads = value

    def forward(self, x: Any, *, out: FloatArray | None = None) -> FloatArray:
        """Return the logits of `x`, with the bits of `Model.forward` without training.

        Parameters
        ----------
        x : array
            Features [T, inputs], or integer ids [T] or [B, S] (then T = B * S).
        out : numpy.ndarray, optional
            Contiguous float32 [T, C] to write into, for loops without allocation.

        Returns
        -------
        numpy.ndarray
            float32 [T, C]; `out` if given.

        Raises
        ------
        ValueError
            For a wrong shape or type, NaN or infinity, or an id outside the vocabulary.
        DynaMoEError
            When the logits are not finite, another thread is inside the session, or the model is
            being changed.
        """
        return self._logits(x, out)[0]

    def _summary(self) -> str:
        return f"{self._text}; {self._threads} thread{'' if self._threads == 1 else 's'}"
