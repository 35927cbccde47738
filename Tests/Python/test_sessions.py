"""Sessions: several threads evaluate one model."""

from __future__ import annotations

import copy
import itertools
import pickle
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dynamoe as dm
import numpy as np
import pytest
from dynamoe import _signatures

from support.networks import OUTPUTS, ROWS, classifier, config, rows, state

X, Y = rows()
MANY = np.tile(X, (500, 1))


@pytest.fixture
def model():
    """Return a trained classifier."""
    return classifier(trained=True)


def same(a, b):
    """Whether two lists of routings are the same bits."""
    return all(
        np.array_equal(one.active, two.active) and np.array_equal(one.weights, two.weights)
        for one, two in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_those_of_the_model(model, tmp_path, precision, threads):
    model.save(tmp_path / "model.safetensors")
    model = dm.Model.load(tmp_path / "model.safetensors", precision)
    session = model.session(threads)
    out = np.empty((ROWS, OUTPUTS), np.float32)
    assert np.array_equal(session.forward(X), model.forward(X))
    assert session.forward(X, out=out) is out and np.array_equal(out, model.forward(X))
    assert same(session.last_routing, model.last_routing)
    assert np.array_equal(session.predict(MANY), model.predict(MANY))
    assert np.array_equal(session.predict_proba(X), model.predict_proba(X))
    assert same(session.routing_trace(MANY), model.routing_trace(MANY))
    ours, theirs = session.evaluate(X, Y), model.evaluate(X, Y)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_token_ids_and_regressions():
    text = dm.Model(config(task="language_model", inputs=None, outputs=None, vocabulary=20))
    ids = np.arange(24).reshape(2, 12) % 20
    session = text.session()
    assert np.array_equal(session.forward(ids), text.forward(ids))
    assert session.evaluate(ids, ids)["perplexity"] == text.evaluate(ids, ids)["perplexity"]
    regression = dm.Model(config(task="regression"))
    session = regression.session()
    assert np.array_equal(session.predict(X), regression.predict(X))
    assert session.task == "regression"
    with pytest.raises(ValueError, match="regression"):
        session.predict_proba(X)


def test_statistics_are_its_own(model):
    before = state(model)
    one, other = model.session(), model.session()
    with pytest.raises(dm.DynaMoEError, match="no routing"):
        _ = one.last_routing
    one.forward(X)
    one.evaluate(X[:3], Y[:3])
    assert [layer.rows for layer in one.routing_stats(reset=True)] == [ROWS + 3] * 3
    assert one.routing_stats()[0].rows == 0
    assert one.routing_stats()[0].participation is None
    assert other.routing_stats()[0].rows == 0
    other.forward(X)
    assert other.routing_stats()[2].expert_rows.sum() == other.last_routing[2].active.sum()
    assert state(model) == before


def test_it_sees_new_weights(model):
    session = model.session()
    old = session.forward(X)
    model.train_batch(X, Y)
    new = session.forward(X)
    assert not np.array_equal(old, new)
    assert np.array_equal(new, model.forward(X))


def test_life(model):
    with model.session(threads=2) as session:
        assert session.threads == 2
        session.threads = 1
        assert session.threads == 1
        assert repr(session).startswith("Session(classification: 12 inputs -> 5 outputs")
        assert session.experts == model.experts
        expected = model.forward(X)
        model.close()
        assert np.array_equal(session.forward(X), expected)
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="copied or pickled"):
                copied(session)
    assert session.closed and repr(session) == "Session(closed)"
    session.close()
    for call in (
        lambda: session.forward(X),
        lambda: session.predict(X),
        lambda: session.evaluate(X, Y),
        session.routing_stats,
        lambda: session.last_routing,
        lambda: session.threads,
        lambda: setattr(session, "threads", 2),
        lambda: session.__enter__(),
    ):
        with pytest.raises(ValueError, match="session is closed"):
            call()
    with pytest.raises(ValueError, match="model is closed"):
        model.session()


@pytest.mark.parametrize("threads", [0, 257, -1, 1.5, "2", None, True])
def test_threads_are_checked(model, threads):
    with pytest.raises(ValueError, match="threads"):
        model.session(threads)
    session = model.session()
    with pytest.raises(ValueError, match="threads"):
        session.threads = threads
    assert session.threads == 1


def test_bad_input_is_refused(model):
    session = model.session()
    session.forward(X)
    before = session.routing_stats()[0].rows
    bad = X.copy()
    bad[1, 2] = np.nan
    for x in (bad, X[:, :-1], X[0], Y, "x"):
        with pytest.raises(ValueError, match="x"):
            session.forward(x)
        with pytest.raises(ValueError, match="x"):
            session.evaluate(x, Y)
    with pytest.raises(ValueError, match="targets"):
        session.evaluate(X, Y[:-1])
    with pytest.raises(ValueError, match="out"):
        session.forward(X, out=np.empty((1, 1), np.float32))
    assert session.routing_stats()[0].rows == before


def test_a_pool_of_threads(model):
    expected = model.predict(MANY)
    sessions: queue.SimpleQueue[dm.Session] = queue.SimpleQueue()
    made = [model.session() for _ in range(4)]
    for session in made:
        sessions.put(session)

    def serve(batch):
        session = sessions.get()
        try:
            return session.predict(batch)
        finally:
            sessions.put(session)

    batches = np.array_split(MANY, 100)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(serve, batches))
    assert np.array_equal(np.concatenate(answers), expected)
    assert sum(session.routing_stats()[0].rows for session in made) == len(MANY)


class Busy:
    """A thread that evaluates many rows in a session, again and again."""

    def __init__(self, session):
        self.session, self.calls, self.refused, self.stop = session, 0, 0, False
        self.thread = threading.Thread(target=self.run)
        self.targets = np.tile(Y, 500)

    def run(self):
        """Evaluate until told to stop."""
        while not self.stop:
            try:
                self.session.evaluate(MANY, self.targets)
                self.calls += 1
            except dm.DynaMoEError as error:
                assert error.status == _signatures.ERROR_BUSY
                self.refused += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()


def refusal(call, seconds=30):
    """Return how often `call` was let in until it was refused as busy, and with what words."""
    end = time.monotonic() + seconds
    for count in itertools.count():
        assert time.monotonic() < end, f"let in {count} times, never refused"
        try:
            call()
        except dm.DynaMoEError as error:
            assert error.status == _signatures.ERROR_BUSY
            return count, str(error)
    raise AssertionError


def test_other_sessions_go_on_while_one_evaluates(model):
    """The interpreter is free, and so is the model: many short calls fit into a long one."""
    other = model.session()
    most = 0
    with Busy(model.session()) as busy:
        for _ in range(20):
            calls, fitted = busy.calls, 0
            while busy.calls == calls:
                other.forward(X[:1])
                model.forward(X[:1])
                fitted += 1
            most = max(most, fitted)
    assert most >= 5
    assert busy.refused == 0


def test_a_second_thread_in_one_session_is_refused(model):
    session = model.session()
    session.forward(X)
    with Busy(session):
        _, words = refusal(lambda: session.last_routing)
        _, others = refusal(lambda: session.forward(X[:1]))
    assert "session is in use by another thread" in words
    assert "session is in use by another thread" in others
    assert len(session.forward(X)) == ROWS


def test_changes_are_refused_while_a_session_evaluates(model):
    twin = classifier(trained=True)
    with Busy(model.session()) as busy:
        count, words = refusal(lambda: model.train_batch(X, Y))
        assert "session" in words
        state(model)
        bias = np.ones(OUTPUTS)
        refusal(lambda: model.parameters.__setitem__("head.bias", bias))
    assert busy.calls > 0
    for _ in range(count):
        twin.train_batch(X, Y)
    model.parameters["head.bias"] = twin.parameters["head.bias"] = bias
    assert np.array_equal(model.train_batch(X, Y), twin.train_batch(X, Y))
    for name in model.parameters:
        assert np.array_equal(model.parameters[name], twin.parameters[name]), name
