"""Errors in scores, selection, weights, thresholds, noise and controllers."""

from planted.error import File

ERRORS = []

ROUTING = r"RoutingTests|NoiseTests"
THRESHOLDS = r"ThresholdTests|RoutingTests"
CONTROLLERS = r"OptimizerTests|ThresholdTests"

scores = File(ERRORS, "Router/Router.swift", ROUTING)
scores.larger("scores: temperature", "let inverse = Float(«1 / temperature»)")
scores.wrong(
    "scores: logsumexp with temperature",
    "«temperature == 1»\n          ? tempered",
    "true",
    "GradientTests/auxiliary",
)
scores.wrong(
    "scores: entropy without temperature",
    "n, inverseTemperature: «Double(inverse)»)",
    "1",
    "StatisticsTests|GradientTests/auxiliary",
)

cosine = File(ERRORS, "Router/Router+Cosine.swift", ROUTING)
cosine.larger(
    "scores: cosine, scale",
    "zRow[e] = «scale» * (zRow[e] / (inputNorm * weightNorms[e]))",
)
cosine.wrong(
    "scores: cosine, norm of x", "(zRow[e] / («inputNorm» * weightNorms[e]))", "1"
)
cosine.wrong(
    "scores: cosine, least norm",
    "«max(backend.dot(row, row, width).squareRoot(), leastNorm)»",
    "backend.dot(row, row, width).squareRoot()",
)
cosine.larger(
    "scores: cosine, entropy of shares",
    "let share = «Double(sRow[e]) / sum»",
    "StatisticsTests",
)

choice = File(ERRORS, "Router/Router+Selection.swift", ROUTING)
choice.wrong("order: ties to the higher index", "(x == y && «a < b»)", "a > b")
choice.wrong("order: smaller first", "return «x > y» ||", "x < y")
choice.wrong(
    "order: many experts, only one child",
    "if «child + 1 < end», precedes(order[child]",
    "false",
)
choice.wrong("order: many experts, not sifted again", "⟦sift(0, end)⟧", "_ = end")
choice.wrong("order: relu by score", "case .relu: «z»", "s")
choice.wrong(
    "order: without balancing bias",
    "default: «v»\n",
    "u",
    "RoutingTests|GradientTests/routers",
)
choice.wrong("min_active ignored", "if «activeCount < least» {", "false")
choice.wrong(
    "min_active ignored in evaluation",
    "least: «self.settings.minActive»",
    "training == nil ? 0 : self.settings.minActive",
)
choice.wrong(
    "min_active adds the first, not the best",
    "while activeCount < least, place < count {\n        let expert = «Int(order[place])»",
    "place",
)
choice.wrong("max_active ignored", "if «activeCount > most» {", "false")
choice.wrong(
    "max_active ignored in evaluation",
    "most: «self.settings.maxActive»)",
    "training == nil ? n : self.settings.maxActive",
)
choice.wrong(
    "max_active keeps the first, not the best",
    "for place in 0..<count {\n        let expert = «Int(order[place])»\n        guard",
    "place",
)
choice.wrong(
    "limited: not said when cut",
    "activeCount = kept\n      return «true»",
    "false",
    "StatisticsTests",
)
choice.wrong(
    "limited: not said when filled",
    "place += 1\n      }\n      return «true»",
    "false",
    "StatisticsTests",
)
choice.wrong(
    "percentile: position",
    "quantile(scores, n, «settings.percentile», scratch: scratch)",
    "settings.percentile * 0.99",
)
choice.wrong(
    "percentile: not strict",
    "choice.activate { «Double(scores[$0]) > threshold» }",
    "Double(scores[$0]) >= threshold",
)
choice.wrong(
    "threshold: not strict",
    "choice.activate { «Double(scores[$0]) > thresholds[$0]» }",
    "Double(scores[$0]) >= thresholds[$0]",
)
choice.wrong(
    "relu: not strict", "choice.activate { «scores[$0] > 0» }", "scores[$0] >= 0"
)
choice.wrong(
    "top_k: one too many", "choice.activateBest(«settings.k»)", "min(settings.k + 1, n)"
)
choice.wrong(
    "top_p: cumulates v instead of s",
    "choice.activatePrefix(of: «clean», reaching: p)",
    "scores",
)
choice.wrong("top_p: p must be exceeded", "if «sum >= p» { break }", "sum > p")
choice.larger("top_p: p", "sum += «Double(shares[expert])»")
choice.wrong(
    "top_p: p of the configuration in spite of control",
    "«settings.targetActive != nil» ? control.map",
    "false",
)
choice.wrong(
    "relu weight not zero when added", "active[e] != 0 && «z[e] > 0» ? z[e] : 0", "true"
)
choice.larger(
    "top_any: weights", "choice.activeCount > 0 ? «1 / Float(choice.activeCount)» : 0"
)
choice.larger(
    "raw weights",
    "case .raw:\n      for e in 0..<n { w[e] = active[e] != 0 ? «u[e]» : 0 }",
)
choice.wrong(
    "raw weights of v",
    "choice, u: «u + offset»",
    "v + offset",
    "RoutingTests|GradientTests/routers",
)
choice.wrong(
    "normalized weights not clamped",
    "let inverse = 1 / «max(sum, leastScoreSum)»",
    "sum",
)
choice.larger("normalized weights", "w[e] = active[e] != 0 ? «u[e] * inverse» : 0")
choice.larger("softmax weights", "active[e] != 0 ? expf(«u[e] - largest») : 0")

noise = "NoiseTests|GradientTests/routerSettings|ThresholdTests"
choice.wrong(
    "noise: not applied",
    "pass.hasNoise = «training != nil && settings.noise > 0»",
    "false",
    noise,
)
choice.wrong("noise: same for all rows", "noise.fill(row: «row», experts", "0", noise)
choice.wrong("noise: same for all steps", "step: «UInt64(training.step)»", "0", noise)
choice.wrong("noise: same for all layers", "step), layer: «layer»)", "0", noise)
choice.wrong("noise: same for all seeds", "seed: «training.seed», step", "0", noise)
choice.larger("noise: deviation", "let deviation = Float(«settings.noise»)", noise)
choice.wrong(
    "noise: replaces the score",
    "uRow[expert] = «s[row * n + expert]» + deviation",
    "0",
    noise,
)
choice.larger(
    "selection scores: balancing bias",
    "u[row * n + expert] + «bias[expert]»",
    "RoutingTests|GradientTests/routers",
)

generator = File(ERRORS, "Random/RoutingNoise.swift", noise + "|RandomTests")
generator.wrong(
    "noise: same for every four experts",
    "block(UInt32(truncatingIfNeeded: «expert / 4»)",
    "0",
)
generator.wrong(
    "noise: of the starting values",
    "Philox(key: «~seed»)",
    "seed",
    "RandomTests|NoiseTests",
)

thresholds = File(ERRORS, "Router/Router+Thresholds.swift", THRESHOLDS)
thresholds.larger(
    "top_any: threshold", "1 / (1 + exp(«-settings.scale * Double(gates?[e] ?? 0)»))"
)
thresholds.wrong(
    "threshold: stored one of the first expert for all",
    "[«settings.kind == .threshold ? 0 : e»]",
    "0",
)
thresholds.wrong(
    "threshold: stored one in training too", "guard «training» else {", "false"
)
thresholds.wrong(
    "threshold: training selects by clean scores",
    "batchQuantiles(\n        «selectionScores(pass)», rows",
    "pass.scores.base",
    THRESHOLDS + "|GradientTests",
)
thresholds.larger(
    "threshold: position",
    "let q = 1 - («settings.targetActive ?? Double(n)») / Double(n)",
)
thresholds.wrong(
    "threshold: one per layer for expert_threshold",
    "guard «settings.kind == .expertThreshold» else {",
    "false",
)
thresholds.wrong(
    "threshold: of the first row only",
    "quantile(v, «rows * n», q, scratch: scratch)",
    "n",
)
thresholds.wrong(
    "threshold: one row missing",
    "quantile(column, «rows», q, scratch: scratch + e * rows)",
    "max(1, rows - 1)",
)
thresholds.wrong(
    "stored threshold: of the noisy scores", "guard «pass.hasNoise» else {", "false"
)
thresholds.wrong(
    "stored threshold: with noise without balancing bias",
    "guard «pass.hasBias», let bias else {",
    "false",
)
thresholds.wrong(
    "stored threshold: clean scores left as selection scores",
    "for e in 0..<experts { v[row * experts + e] = «u[row * experts + e]» + bias[e] }",
    "s[row * experts + e]",
)
thresholds.larger(
    "stored threshold: clean balancing bias", "= s[row * experts + e] + «bias[e]» }"
)
thresholds.wrong(
    "stored threshold: first is no copy",
    "«control[2] == 0»\n        ? Float(clean[e])",
    "false",
)
thresholds.wrong(
    "stored threshold: always a copy",
    "«control[2] == 0»\n        ? Float(clean[e])",
    "true",
)
thresholds.larger(
    "stored threshold: momentum", "Float(«settings.momentum» * Double(stored[e])"
)
thresholds.wrong(
    "stored threshold: only the first expert's",
    "let count = settings.kind == .threshold ? 1 : «experts»",
    "1",
)
thresholds.wrong(
    "stored threshold: updates not counted",
    "    ⟦control[2] += 1⟧\n  }\n\n  /// Counts the rows",
    "_ = 0",
)

control = File(ERRORS, "Router/Router+Thresholds.swift", CONTROLLERS)
control.wrong(
    "controllers: only the last forward's rows",
    "⟦rowsSinceStep += rows⟧",
    "rowsSinceStep = rows",
)
control.wrong(
    "controllers: only the last forward's pairs",
    "{ ⟦expertRowsSinceStep[e] += Int(offsets[e + 1] - offsets[e])⟧ }",
    "expertRowsSinceStep[e] = Int(offsets[e + 1] - offsets[e])",
)
control.wrong(
    "controllers: rows not forgotten", "⟦rowsSinceStep = 0⟧\n    for e", "_ = 0"
)
control.wrong(
    "controllers: pairs not forgotten",
    "for e in 0..<experts { ⟦expertRowsSinceStep[e] = 0⟧ }",
    "_ = e",
)
control.wrong(
    "relu controller: wrong way",
    "«pairs > target * rows» ? Double",
    "pairs < target * rows",
)
control.larger("relu controller: up", "? «Double(control[0]) * 1.2» :")
control.larger("relu controller: down", ": «Double(control[0]) / 1.2»\n")
control.wrong(
    "relu controller: steps not counted",
    "leastSparsity), mostSparsity))\n        ⟦control[2] += 1⟧",
    "_ = 0",
)
control.larger(
    "top_p controller: error", "let error = «(target - pairs / rows) / Double(experts)»"
)
control.wrong("top_p controller: previous error", "(error - «Double(control[1])»)", "0")
control.larger("top_p controller: change of error", "«0.1» * (error -")
control.larger("top_p controller: share of error", "+ «0.05» * error")
control.wrong(
    "top_p controller: not clamped", "control[0] = Float(«min(max(p, 0), 1)»)", "p"
)
control.wrong(
    "top_p controller: error not stored", "⟦control[1] = Float(error)⟧", "_ = error"
)
control.wrong(
    "top_p controller: steps not counted",
    "control[1] = Float(error)\n        ⟦control[2] += 1⟧",
    "_ = 0",
)
control.wrong("balancing: not done", "if let bias { ⟦balance(bias)⟧ }", "_ = bias")
control.wrong("balancing: wrong way", "lack > 0 ? 1 : lack < 0 ? «-1» : 0", "1")
control.wrong(
    "balancing: by the lack, not its sign", "settings.balanceRate * «sign»)", "lack"
)
control.wrong(
    "balancing: a met load still moves", "lack > 0 ? 1 : lack < 0 ? -1 : «0»", "1"
)
control.wrong("balancing: not centred", "let shift = «sum / Double(experts)»", "0.0")
control.wrong(
    "new network: no coefficient of sparsity",
    "case .relu: ⟦control[0] = Float(losses.sparsity)⟧",
    "_ = 0",
)
control.wrong(
    "new network: no p", "case .topP: ⟦control[0] = Float(settings.p)⟧", "_ = 0"
)

calibration = File(ERRORS, "Router/Router+Calibration.swift", "CalibrationTests")
calibration.wrong(
    "calibration: without balancing bias",
    "s[row * experts + e] + «(router.bias?[e] ?? 0)»",
    "0",
)
calibration.wrong(
    "calibration: does not count as an update",
    "⟦control[2] = max(control[2], 1)⟧",
    "_ = 0",
)
calibration.wrong(
    "calibration: below the target",
    "if low > 0, «targetActive - meanActive(low - 1) < meanActive(low) - targetActive» {",
    "true",
)
calibration.wrong(
    "calibration: never the nearer below", "⟦low -= 1⟧ }\n    place(low)", "_ = 0"
)
calibration.wrong(
    "calibration: last search left in place", "⟦place(low)⟧\n    guard", "_ = 0"
)
calibration.wrong(
    "calibration: within no limits",
    "pairs += «min(max(active, settings.minActive), settings.maxActive)»",
    "active",
)
calibration.wrong(
    "calibration: experts unlike one another",
    "exceededBy: pairs / n + «(e < pairs % n ? 1 : 0)»",
    "0",
)
calibration.wrong(
    "calibration: only the first expert's",
    "let count = settings.kind == .threshold ? 1 : «n»",
    "1",
)
calibration = File(ERRORS, "Network/Calibration.swift", "CalibrationTests")
calibration.wrong(
    "calibration: first chunk for all",
    "source.advanced(«first», inputs: input.inputs), rows: min(chunk",
    "0",
    "CalibrationTests|ChunkTests",
)
calibration.wrong(
    "calibration: chunks over one another",
    "into: hidden.base + «first» * width)\n    }",
    "0",
    "CalibrationTests|ChunkTests",
)
calibration.wrong(
    "calibration: first chunk normalised for all",
    "hidden.base + «first» * width, rows: count, into",
    "0",
    "CalibrationTests|ChunkTests",
)
calibration.wrong(
    "calibration: scores over one another",
    "x, first: «first», rows: count, layers",
    "0",
    "CalibrationTests|ChunkTests",
)
calibration.wrong(
    "calibration: first chunk evaluated again",
    "hidden.base + «first» * width, rows: min(chunk",
    "0",
    "CalibrationTests|ChunkTests",
)
calibration.wrong(
    "calibration: layers do not see their predecessors",
    "try evaluateBlock(\n          index, hidden.base + first * width, rows: "
    "min(chunk, rows - first), firstRow: nil,\n          evaluation)",
    "_ = index",
)
