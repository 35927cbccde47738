"""Errors in sessions, and in what keeps them and changes of their model apart."""

from planted.error import File

ERRORS = []

SESSIONS = "SessionTests"

session = File(ERRORS, "Network/Session.swift", SESSIONS)
session.wrong(
    "session: memory and statistics of the model",
    "into: logits?.baseAddress, «pass»)",
    "model.evaluation",
)
session.wrong(
    "session: evaluate with the statistics of the model",
    "try model.evaluate(input, targets, «pass»)",
    "model.evaluation",
)
session.wrong(
    "session: evaluates while the model changes",
    "⟦try model.changes.beginEvaluation()⟧",
    "_ = 0",
)
session.wrong(
    "session: any thread is let in",
    "guard «dynamoe_exchange32(inUse, 0, 1)» else",
    "true",
)
session.wrong(
    "session: never left", "defer { ⟦dynamoe_store32(inUse, 0)⟧ }", "_ = 0"
)
session.wrong(
    "session: an evaluation without end",
    "defer { ⟦model.changes.endEvaluation()⟧ }",
    "_ = 0",
)
session.wrong(
    "session: statistics are not reset",
    "⟦for layer in pass.statistics { layer.reset() }⟧",
    "_ = 0",
)

gate = File(ERRORS, "Network/ChangeGate.swift", SESSIONS)
gate.wrong(
    "gate: changes beside evaluations",
    "guard «dynamoe_exchange32(word, 0, Self.changing)» else",
    "true",
)
gate.wrong(
    "gate: evaluations beside changes", "guard «count != Self.changing» else", "true"
)

CHANGE = "⟦try changes.beginChange()⟧\n    defer { changes.endChange() }\n    "
training = File(ERRORS, "Network/Model+Training.swift", SESSIONS)
training.wrong(
    "gate: training forward beside sessions",
    CHANGE + "trainingState = .none\n    latest = .none\n    try withMemory",
    "_ = 0",
)
training.wrong(
    "gate: trainBatch beside sessions",
    CHANGE + "trainingState = .none\n    latest = .none\n    try reserveSlice",
    "_ = 0",
)
training.wrong(
    "gate: backward beside sessions",
    CHANGE + "try reserveSlice(rows)\n    try reserveBackward(rows)\n",
    "_ = 0",
)
training.wrong(
    "gate: backward of logits beside sessions",
    CHANGE + "try reserveBackward(rows)\n",
    "_ = 0",
)
network = File(ERRORS, "Network/RoutedNetwork.swift", SESSIONS)
network.wrong("gate: step beside sessions", CHANGE + "applyStep(", "_ = 0")
network.wrong(
    "gate: new values beside sessions", CHANGE + "if source !=", "_ = 0"
)
calibration = File(ERRORS, "Network/Calibration.swift", SESSIONS)
calibration.wrong("gate: calibrate beside sessions", CHANGE + "let before", "_ = 0")
