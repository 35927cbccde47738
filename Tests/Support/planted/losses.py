"""Errors in losses and in what evaluations report."""

from planted.error import File

ERRORS = []

TASKS = r"GradientTests/tasksAndHeads|BackwardTests|BatchTests"
AUXILIARY = r"GradientTests/(auxiliary|routers)"

task = File(ERRORS, "Losses/TaskLoss.swift", TASKS)
task.wrong(
    "ignored targets: counted",
    "for target in classes where «target >= 0» { counted += 1 }",
    "target >= -1",
)
task.wrong(
    "ignored targets: their weights counted",
    "where «(self.classes?[row] ?? 0) >= 0»",
    "true",
)
task.wrong(
    "ignored targets: gradient left",
    "⟦gradient.update(repeating: 0, count: outputs)⟧",
    "_ = 0",
)
task.larger("loss: mean", "weightSum > 0 ? «sum / weightSum» : 0")
task.wrong(
    "loss: without rows that count", "weightSum > 0 ? sum / weightSum : «0»", "1"
)
task.larger("accuracy", "countedRows > 0 ? «Double(hits) / Double(countedRows)» : 0")
task.wrong(
    "accuracy: over all rows", "Double(hits) / «Double(countedRows)»", "Double(rows)"
)
task.wrong(
    "accuracy: ties to the later class",
    "where «logits[other] >= logit» { return false }",
    "logits[other] > logit",
)
task.wrong(
    "accuracy: later classes not looked at",
    "for other in target..<outputs where «logits[other] > logit»",
    "false",
)
task.wrong(
    "sample weights: not in the loss",
    "* «Double(sampleWeight?[first + row] ?? 1)»",
    "1",
)
task.wrong(
    "sample weights: not in the gradient",
    "Float(«Double(sampleWeight?[row] ?? 1)» / weightSum)",
    "1",
)
task.wrong(
    "sample weights: not in the sum",
    "{ ⟦total += Double(weights[row])⟧ }",
    "total += 1",
)
task.larger("gradient: cross-entropy, target", "gradient[target] -= «1»")
task.larger(
    "gradient: cross-entropy",
    "backend.scale(gradient, by: «scale», into: gradient, outputs)",
)
task.larger("loss: cross-entropy", "own > 1e-30 ? «-log(Double(own))» : fallback")
task.larger("gradient: squared error", "let factor = «2 * scale / Float(outputs)»")
task.larger("loss: squared error", "return «sum / Double(outputs)»")
task.wrong(
    "slices: targets of the first",
    "loss.writeRow(\n          «first + row», logits",
    "row",
    "ChunkTests",
)
task.wrong(
    "slices: sample weights of the first",
    "sampleWeight?[«first + row»] ?? 1)",
    "row",
    "ChunkTests",
)

auxiliary = File(ERRORS, "Losses/AuxiliaryLosses.swift", AUXILIARY)
auxiliary.larger("loss: z", "z += «logSumExp * logSumExp»")
auxiliary.larger("loss: entropy", "entropy += «pass.entropy.base[row]»")
auxiliary.larger("loss: balance", "return «Double(n) * sum / Double(rows)»")
auxiliary.larger("loss: balance, share of the load", "rows: rows) / «pairs»")
auxiliary.wrong(
    "loss: balance, top_any not shared out",
    "router.settings.kind == .topAny ? «(total > 0 ? weighted / total : 0)»",
    "weighted",
)
auxiliary.larger("loss: sparsity", "sparsity *= «Double(n) / (target * count * count)»")
auxiliary.wrong(
    "loss: sparsity, without loads",
    "sparsity += «Double(offsets[e + 1] - offsets[e])» * sum",
    "1",
)

network = File(ERRORS, "Network/RoutedNetwork.swift", AUXILIARY)
network.larger(
    "loss: weighted balance", "sum.balance += «coefficients.balance * losses.balance»"
)
network.larger("loss: weighted z", "sum.z += «coefficients.z * losses.z»")
network.larger(
    "loss: weighted entropy", "sum.entropy += «coefficients.entropy * losses.entropy»"
)
network.larger(
    "loss: weighted sparsity", "sum.sparsity += «sparsity * losses.sparsity»"
)
network.wrong("loss: sparsity alone is left out", "|| «sparsity != 0»", "false")

total = File(ERRORS, "Losses/Losses.swift", AUXILIARY)
total.wrong(
    "loss: total without sparsity", "task + balance + z + entropy + «sparsity»", "0"
)
total.wrong(
    "loss: total without entropy", "task + balance + z + «entropy» + sparsity", "0"
)

explained = File(ERRORS, "Losses/ExplainedVariance.swift", "BatchTests|ChunkTests")
explained.wrong(
    "R²: rows of the first slice",
    "Double(values[(«first» + row) * outputs + column])",
    "0",
)
explained.larger("R²: mean of the targets", "mean /= «Double(rows)»")
explained.larger("R²: spread", "? 1 - squaredErrors[column] / «spread»")
explained.wrong(
    "R²: pooled over outputs",
    "spread > 0\n        ? «1 - squaredErrors[column] / spread»",
    "1 - squaredErrors.reduce(0, +) / Double(outputs) / spread",
)
explained.wrong(
    "R²: constant and met counts nothing", "squaredErrors[column] == 0 ? «1» : 0", "0"
)
explained.wrong(
    "R²: constant and missed counts", "squaredErrors[column] == 0 ? 1 : «0»", "1"
)
explained.wrong("R²: of one row", "guard «rows >= 2» else { return nil }", "true")

counters = File(
    ERRORS, "Statistics/RoutingCounters.swift", "StatisticsTests|BatchTests"
)
counters.wrong("statistics: rows", "⟦rows += dispatch.rows⟧", "rows += 1")
counters.wrong(
    "statistics: histogram",
    "⟦histogram[end - start] += 1⟧",
    "histogram[max(0, end - start - 1)] += 1",
)
counters.larger(
    "statistics: weights", "weightSums[expert] += «Double(weights[row * n + expert])»"
)
counters.wrong(
    "statistics: co-activation",
    "for other in index..<end { partners[Int(expertOfRow[other])] += 1 }",
    "partners[expert] += 1",
)
counters.larger("statistics: entropy", "entropySum += «pass.entropy.base[row]»")
counters.wrong(
    "statistics: limited rows", "limitedRows += «Int(pass.limited.base[row])»", "1"
)
counters.wrong("statistics: evaluation's rows", "⟦rows += other.rows⟧", "_ = 0")
counters.wrong(
    "statistics: evaluation's limited rows",
    "⟦limitedRows += other.limitedRows⟧",
    "_ = 0",
)
counters.wrong(
    "statistics: evaluation's entropy", "⟦entropySum += other.entropySum⟧", "_ = 0"
)
counters.wrong(
    "statistics: evaluation's histogram",
    "{ ⟦histogram[k] += other.histogram[k]⟧ }",
    "_ = k",
)
counters.wrong(
    "statistics: evaluation's weights",
    "{ ⟦weightSums[e] += other.weightSums[e]⟧ }",
    "_ = e",
)
counters.wrong(
    "statistics: evaluation's co-activation",
    "⟦together[a * experts + b] += other.together[a * experts + b]⟧",
    "_ = a",
)
counters.wrong(
    "statistics: reset, limited rows",
    "rows = 0\n    ⟦limitedRows = 0⟧\n    entropySum",
    "_ = 0",
)
counters.wrong(
    "statistics: reset, entropy",
    "limitedRows = 0\n    ⟦entropySum = 0⟧\n    histogram",
    "_ = 0",
)
counters.wrong(
    "statistics: reset, histogram",
    "⟦histogram.update(repeating: 0, count: experts + 1)⟧",
    "_ = 0",
)
counters.wrong(
    "statistics: reset, weights",
    "⟦weightSums.update(repeating: 0, count: experts)⟧",
    "_ = 0",
)
counters.wrong(
    "statistics: reset, co-activation",
    "⟦(together + a * experts + a).update(repeating: 0, count: experts - a)⟧",
    "_ = 0",
)
counters.larger("statistics: mean K so far", "return «Double(pairs) / Double(rows)»")

statistics = File(ERRORS, "Statistics/RoutingStatistics.swift", "StatisticsTests")
statistics.larger(
    "statistics: variance of K", "counters.rows > 0 ? «variance / count» : 0"
)
statistics.larger("statistics: mean entropy", "entropy = «counters.entropySum / count»")
statistics.larger(
    "statistics: limited share", "limitedShare = «Double(counters.limitedRows) / count»"
)
statistics.wrong(
    "statistics: co-activation one-sided",
    "⟦coactivation[b * n + a] = counters.together[a * n + b]⟧",
    "_ = b",
)
statistics.larger(
    "statistics: mean weight",
    "loads[$0] > 0 ? «counters.weightSums[$0] / Double(loads[$0])» : 0",
)
statistics.wrong("statistics: unused", "loads.count { «$0 == 0» }", "$0 <= 1")
statistics.larger(
    "statistics: load imbalance", "loadImbalance = «Double(loads.max() ?? 0) / mean»"
)
statistics.larger(
    "statistics: load variation",
    "loadVariation = «(squares / Double(n)).squareRoot() / mean»",
)
statistics.wrong(
    "statistics: load variation of a sample", "(squares / «Double(n)»)", "Double(n - 1)"
)

routing = File(ERRORS, "Network/RoutedNetwork+Routing.swift", "StatisticsTests")
routing.larger(
    "active parameters",
    "«(Double(layer.expertCount) - mean) * layer.experts.parametersPerExpert»",
)
routing.wrong(
    "operations: without shared experts",
    "let active = meanActive + «Double(shared?.count ?? 0)»",
    "0",
)
routing.wrong(
    "operations: without routers", "+ «Double(expertCount * width)»)", "0"
)

bank = File(ERRORS, "Experts/ExpertBank.swift", "StatisticsTests")
bank.wrong("operations: gated experts", "Double(gate == nil ? 2 : «3»)", "2")
bank.wrong(
    "active parameters: gate bias",
    "Double((gate == nil ? 1 : «2») * hidden + width)",
    "1",
)
bank.wrong("active parameters: without bias", "let biases = «!up.hasBias» ? 0", "false")

layer = File(ERRORS, "Layer/RoutedLayer.swift", "StatisticsTests")
layer.larger(
    "mean K aimed at: percentile",
    "case .percentile: «n - 1 - (settings.percentile * (n - 1)).rounded(.down)»",
)
layer.larger("mean K aimed at: top_k", "case .topK: «Double(settings.k)»")
layer.larger(
    "mean K aimed at: target_active",
    "case .threshold, .expertThreshold, .topP, .relu: «settings.targetActive ?? n»",
)
layer.wrong(
    "mean K aimed at: limits",
    "return «min(max(free, Double(settings.minActive)), Double(settings.maxActive))»",
    "free",
)
