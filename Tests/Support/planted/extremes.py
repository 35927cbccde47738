"""Errors at the edge of single precision, and in the statistics that are off until asked for."""

from planted.error import File

ERRORS = []

scores = File(ERRORS, "Router/Router.swift", "ExtremeTests")
scores.wrong(
    "scores that are not numbers let through",
    "pass.isFinite = «backend.isFinite(pass.logSumExp.base, rows)»",
    "true",
)
scores.wrong(
    "entropy: from the probability of the first", "-log(Double(s[«largest»]))", "0"
)

layer = File(ERRORS, "Layer/RoutedLayer.swift", "ExtremeTests|MeasuresTests")
layer.wrong(
    "participation: a refused forward stays",
    "if training != nil { ⟦moments.reset()⟧ }",
    "_ = 0",
)
statistics = File(
    ERRORS, "Statistics/LayerStatistics.swift", "ExtremeTests|MeasuresTests"
)
statistics.wrong(
    "participation: a refused evaluation stays",
    "⟦pendingInputMoments?.reset()⟧",
    "_ = 0",
)
statistics.wrong("participation: not forgotten", "⟦inputMoments?.reset()⟧", "_ = 0")
network = File(ERRORS, "Network/RoutedNetwork.swift", "ExtremeTests|MeasuresTests")
network.wrong(
    "losses: coefficient of sparsity after the step",
    "let sparsity = «trainingPasses[index].sparsity»",
    "layers[index].router.sparsityCoefficient",
)
network.wrong(
    "gradient variance: micro-batches not forgotten",
    "⟦gradientMoments?.reset()⟧",
    "_ = 0",
)

control = File(ERRORS, "Router/Router+Thresholds.swift", "ExtremeTests")
control.wrong(
    "relu controller: no lower bound", "min(max(coefficient, «leastSparsity»)", "0"
)
control.wrong(
    "relu controller: no upper bound",
    "leastSparsity), «mostSparsity»)",
    "1e30",
)
control.wrong(
    "cold thresholds leave out scores of 0",
    "isCold && stored == 0 ? «-Double.infinity» :",
    "0",
)

task = File(ERRORS, "Losses/TaskLoss.swift", "ExtremeTests")
task.wrong(
    "loss: of a sure row, from its own probability", "guard «own > 0.5» else", "false"
)
task.larger("loss: of a sure row", "return «-log1p(-others)»")

optimizer = File(ERRORS, "Optimizer/Optimizer.swift", "ExtremeTests")
optimizer.wrong("learning rates too large let through", "«rate <= largestRate»", "true")

moments = File(ERRORS, "Statistics/InputMoments.swift", "MeasuresTests")
moments.wrong(
    "participation: not centred",
    "Float(Double(x[row * d + column]) - «batch[column]»)",
    "0",
)
moments.wrong(
    "participation: forwards as if of one mean",
    "«factor * difference» * (otherMean[j] - mean[j])",
    "0",
)
moments.wrong(
    "participation: mean of the first forward",
    "(otherMean[i] - mean[i]) * «Double(count) / Double(total)»",
    "0",
)
moments.larger("participation", "squares > 0 ? «trace * trace / squares» : 0")

gradients = File(ERRORS, "Statistics/GradientMoments.swift", "MeasuresTests")
gradients.wrong(
    "gradient variance: of the sum so far", "gradient[i] - «before[i]»", "0"
)
gradients.wrong("gradient variance: mean of the first", "difference * «share»", "0")
gradients.wrong(
    "gradient variance: of a sample", "Double(max(«count», 1))", "count - 1"
)
