"""Errors in evaluations of more rows than one chunk, or of more logits than one slice."""

from planted.error import File

ERRORS = []

CHUNKS = "ChunkTests"

model = File(ERRORS, "Network/Model+Evaluation.swift", CHUNKS)
model.wrong(
    "evaluate: rows of the first chunk",
    "source.advanced(«first», inputs: self.input.inputs)",
    "0",
)
model.wrong(
    "evaluate: rows of the first slice",
    "try head.forward(x + «start» * width, rows: part, into: logits)",
    "0",
)
model.wrong(
    "evaluate: targets of the first chunk",
    "logits, first: «first + start», count: part, gradient",
    "start",
)
model.wrong(
    "evaluate: targets of the first slice",
    "logits, first: «first + start», count: part, gradient",
    "first",
)
model.wrong(
    "evaluate: R² of the first chunk",
    "explained?.add(logits, first: «first + start», count: part)",
    "start",
)
model.wrong(
    "evaluate: R² of the first slice",
    "explained?.add(logits, first: «first + start», count: part)",
    "first",
)
model.wrong(
    "evaluate: the last chunk in full",
    "let count = min(pass.chunkRows, «rows - first»)\n        let x",
    "max(rows - first, min(rows, pass.chunkRows))",
)
model.wrong(
    "evaluate: perplexity in bits",
    "exp(«task.mean»)",
    "task.mean * 1.01",
    "BatchTests",
)
model.wrong(
    "evaluate: perplexity of other tasks",
    "perplexity: «configuration.task == .languageModel»",
    "true",
    "BatchTests",
)
model.wrong(
    "evaluate: accuracy without rows that count",
    "accuracy: «task.countedRows > 0» ?",
    "true",
    "BatchTests",
)
model.wrong(
    "evaluate: counts of the evaluation before",
    "    ⟦for layer in pass.statistics { layer.beginEvaluation() }⟧\n    if let source",
    "_ = 0",
    "StatisticsTests|BatchTests",
)
model.wrong(
    "forward: counts of the evaluation before",
    "    ⟦for layer in pass.statistics { layer.beginEvaluation() }⟧\n    for first",
    "_ = 0",
    "StatisticsTests|BatchTests",
)
model.wrong(
    "forward: rows of the first chunk",
    "source.advanced(«first», inputs: input.inputs)",
    "0",
)
model.wrong("forward: routing over one another", "rows: count, firstRow: «first», pass)", "0")
model.wrong(
    "forward: slice of the first",
    "x + «start» * width, rows: min(slice, count - start)",
    "0",
)
model.wrong(
    "forward: logits of chunks over one another",
    "logits.map { $0 + «(first + start)» * outputs }",
    "start",
)
model.wrong(
    "forward: logits of slices over one another",
    "logits.map { $0 + «(first + start)» * outputs }",
    "first",
)
passes = File(ERRORS, "Network/EvaluationPass.swift", CHUNKS)
passes.wrong(
    "forward: place of the routing", "let offset = «firstRow» * record.experts", "0"
)

layer = File(ERRORS, "Network/MoELayer.swift", CHUNKS)
layer.wrong(
    "layer: rows of the first chunk",
    "x + «first» * width, rows: count, training: nil",
    "0",
)
layer.wrong(
    "layer: chunks over one another",
    "into: y + «first» * width,\n          evaluation.layer",
    "0",
)
layer.wrong(
    "layer: active flags over one another",
    "active: record.active + «first» * record.experts",
    "0",
)
layer.wrong(
    "layer: weights over one another",
    "let weights = record.weights + «first» * record.experts",
    "0",
)
layer.wrong(
    "layer: statistics of the last chunk only",
    "⟦layer.statistics.countEvaluation(evaluation.layer, weights: weights)⟧",
    "if first + evaluation.chunkRows >= rows { "
    "layer.statistics.countEvaluation(evaluation.layer, weights: weights) }",
)
layer.wrong(
    "layer: counts of the evaluation before",
    "⟦layer.statistics.beginEvaluation()⟧",
    "_ = 0",
    "StatisticsTests",
)

head = File(ERRORS, "Network/Head.swift", CHUNKS + "|RefusalTests")
head.wrong(
    "head: logits that are not finite let through",
    "guard «backend.isFinite(logits, rows * outputs)» else",
    "true",
)

dispatch = File(
    ERRORS,
    "Experts/Dispatch.swift",
    "StatisticsTests|BatchTests|GradientTests/expertsAndNorms",
)
dispatch.wrong(
    "dispatch: shared pairs of the batch before",
    "guard «rows != self.rows || experts != self.experts» else { return }",
    "self.rows == 0 || experts != self.experts",
)

combine = File(ERRORS, "Layer/RoutedLayer.swift", "RoutingTests|BatchTests")
combine.larger(
    "forward: gate weights",
    "by: «weights[row * n + Int(expertOfRow[index])]»,\n            to: yRow, d)",
)
combine.wrong(
    "forward: shared expert of the first row",
    "sharedOutput + (j * rows + «row») * d, to: yRow",
    "0",
)
combine.wrong(
    "forward: residual missing",
    "⟦yRow.update(from: base + row * d, count: d)⟧",
    "yRow.update(repeating: 0, count: d)",
)
