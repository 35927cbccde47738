"""Errors in optimizer, training, files and schedules."""

from planted.error import File

ERRORS = []

OPTIMIZER = "OptimizerTests"
FILES = "ContinuationTests|CheckpointTests"
# Steps that `trainBatch` makes together with the gradients.
AT_ONCE = "DeterminismTests/atOnce"

optimizer = File(ERRORS, "Optimizer/Optimizer.swift", OPTIMIZER)
optimizer.wrong(
    "optimizer: bias correction late", "step: «steps», gradientScale", "steps + 1"
)
optimizer.wrong(
    "optimizer: betas exchanged", "beta1: «settings.beta1», beta2", "settings.beta2"
)
optimizer.larger("optimizer: eps", "eps: «settings.eps»")
optimizer.wrong(
    "optimizer: decays everything",
    "(«settings.decayAll || entry.specification.decays»)",
    "true",
)
optimizer.wrong(
    "optimizer: decay_all ignored", "(«settings.decayAll» || entry", "false"
)
optimizer.larger("optimizer: decay", "decays ? «settings.weightDecay» : 0")
optimizer.wrong(
    "optimizer: neighbours decay alike",
    "if let last = runs.last, «last.decays == decays» {",
    "true",
)
optimizer.larger("optimizer: clip", "Float(min(1, «$0 / (norm + 1e-6)»))")
optimizer.wrong(
    "optimizer: clip enlarges too",
    "Float(«min(1, $0 / (norm + 1e-6))»)",
    "$0 / (norm + 1e-6)",
)
optimizer.wrong(
    "optimizer: clip by the square",
    "let norm = «backend.sumOfSquares(parameters.gradientBase, parameters.extent).squareRoot()»",
    "backend.sumOfSquares(parameters.gradientBase, parameters.extent)",
)
optimizer.wrong(
    "optimizer: learning rate of the step before",
    "configuration.learningRate(step: «steps + 1»)",
    "steps",
)
optimizer.wrong(
    "optimizer: given learning rate ignored",
    "let rate = «override ?? configuration.learningRate(step: steps + 1)»",
    "configuration.learningRate(step: steps + 1)",
)
optimizer.wrong("optimizer: no Nesterov", "nesterov: «settings.nesterov»", "false")
optimizer.larger("optimizer: momentum", "momentum: «settings.momentum», decay")
optimizer.wrong("optimizer: momentum starts anew", "first: «steps == 1»", "true")
optimizer.wrong(
    "optimizer: second moments unlike parameters",
    "parameters.base, first.base, «second.base»,",
    "first.base",
)
optimizer.wrong(
    "optimizer: gradients too large let through",
    "if !(«norm * Double(scale) <= largestGradient») {",
    "true",
    "ExtremeTests",
)

schedule = File(ERRORS, "Configuration/OptimizerConfiguration.swift", OPTIMIZER)
schedule.larger("learning rate: warm-up", "return «lr * i / warmup»")
schedule.wrong(
    "learning rate: warm-up too long", "if «i <= warmup» {", "i <= warmup + 1"
)
schedule.larger("learning rate: cosine", "cos(«Double.pi * progress»)")
schedule.wrong(
    "learning rate: cosine counts the warm-up",
    "«(i - warmup) / (Double(total) - warmup)»",
    "i / Double(total)",
)
schedule.wrong(
    "learning rate: rises again",
    "let progress = «min(1, (i - warmup) / (Double(total) - warmup))»",
    "(i - warmup) / (Double(total) - warmup)",
)
schedule.wrong("learning rate: no floor", "lr * («floor» + (1 - floor)", "0")

names = File(ERRORS, "Network/TensorNames.swift", OPTIMIZER)
names.wrong("decay: embedding not", ".normal(scale: 0.02), decays: «true»", "false")
names.wrong(
    "decay: head not",
    'tensors.append(«weight("head.weight", [model.outputs, width], inputs: width)»)',
    '.init("head.weight", [model.outputs, width], .uniform(inputs: width))',
)
names.wrong(
    "decay: norms of rms",
    'case .rms: [«.init(name + ".weight", [width], .constant(1))»]',
    '.init(name + ".weight", [width], .constant(1), decays: true)',
)
names.wrong(
    "decay: expert biases",
    '«.init(prefix + name + ".bias", [count, outputs], .uniform(inputs: inputs))»',
    '.init(prefix + name + ".bias", [count, outputs], .uniform(inputs: inputs), decays: true)',
)
names.wrong(
    "decay: gates",
    '«.init(prefix + "router.gates", [layer.experts], .constant(0))»',
    '.init(prefix + "router.gates", [layer.experts], .constant(0), decays: true)',
)

bank = File(ERRORS, "Experts/ExpertBank.swift", AT_ONCE)
bank.wrong(
    "bound: without what the experts' second product reads",
    "intoOutput, «activations.largestHidden.value»),",
    "0",
)
bank.wrong(
    "bound: without the gradients before the activation",
    "rows: rows, «activations.largestGradient.value», largestInput)",
    "0",
)

training = File(ERRORS, "Network/Model+Training.swift", "BackwardTests|OptimizerTests")
training.wrong(
    "training: gradients of the batch before stay",
    "if first == 0 {\n        ⟦storage.optimizer.zeroOtherGradients()⟧",
    "_ = first",
)
training.wrong(
    "training: separate gradients of the batch before stay",
    "if separates && !fits { ⟦storage.optimizer.zeroSeparateGradients()⟧ }",
    "_ = fits",
    "DeterminismTests/atOnce|ExtremeTests|RefusalTests",
)
training.wrong(
    "training: a bound that holds anything",
    "separates && «Optimizer.allows(gradientBound(rows: rows, outputGradient: gradient))»",
    "true",
    AT_ONCE,
)
training.wrong(
    "training: no step of the head",
    "head.separateRange != nil { ⟦headWeightGradients(rows: rows, use)⟧ }",
    "_ = use",
    AT_ONCE,
)
optimizer.wrong(
    "optimizer: separate steps not counted",
    "func beginSeparateStep(learningRate: Double) -> ParameterStep {\n    ⟦steps += 1⟧",
    "_ = steps",
    AT_ONCE,
)
optimizer.wrong(
    "optimizer: separate weights stepped twice",
    "        start = «range.upperBound»",
    "range.lowerBound",
    AT_ONCE,
)
projection = File(ERRORS, "Layer/Projection.swift", AT_ONCE)
projection.wrong(
    "projection: step of other weights",
    "step.advanced(by: «parameterOffset»)",
    "0",
)
training.wrong(
    "training: batches not counted",
    "commit: {\n      ⟦commitTrainingForward(rows: rows)⟧",
    "_ = 0",
)
training.wrong(
    "slices: gradients of the last only",
    "if «first == 0» {\n        storage.optimizer",
    "true",
    "ChunkTests",
)
training.wrong(
    "slices: batch, rows of the first",
    "try head.forward(x + «first» * width, rows: count, into: logits)",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: batch, targets of the first",
    "task.add(\n        logits, first: «first», count: count, gradient: logits",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: batch, gradient of the first",
    "backwardHead(logits, first: «first», count: count)",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: forward, rows of the first",
    "x + «first» * width, rows: min(slice, rows - first),",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: forward, logits over one another",
    "into: batch.logits.base + «first» * outputs)",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: loss, logits of the first",
    "batch.logits.base + «first» * outputs, first: first, count: min(",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: loss, targets of the first",
    "batch.logits.base + first * outputs, first: «first», count: min(",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: backward, logits of the first",
    "batch.logits.base + «first» * outputs, first: first, count: count",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: backward, targets of the first",
    "batch.logits.base + first * outputs, first: «first», count: count",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: backward, gradient of the first",
    "backwardHead(batch.logitGradient.base, first: «first», count: count)",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: given gradient, rows of the first",
    "backwardHead(base + «first» * outputs, first: first",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: given gradient, place of the first",
    "backwardHead(base + first * outputs, first: «first»",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: input of the head of the first",
    "headInput + «first» * width, rows: count",
    "0",
    "ChunkTests",
)
training.wrong(
    "slices: gradients over one another",
    "into: batch.gradient.base + «first» * width)",
    "0",
    "ChunkTests",
)
training.wrong(
    "training: the caller's rows are not kept",
    "return .features(«batch.features.base»)",
    "UnsafeMutablePointer(mutating: x)",
    "RefusalTests|BackwardTests",
)
training.wrong(
    "training: the caller's ids are not kept",
    "return .tokens(«batch.ids.base»)",
    "UnsafeMutablePointer(mutating: ids)",
    "RefusalTests|BackwardTests",
)

network = File(
    ERRORS,
    "Network/RoutedNetwork.swift",
    "GoldenTests|OptimizerTests|ContinuationTests",
)
network.wrong(
    "step: packed matrices keep the old weights",
    "gradientScale: gradientScale)\n    ⟦storage.matrices.invalidateAll()⟧",
    "_ = 0",
)
network.wrong("training: batches not clipped", "applyStep(learningRate, «scale»)", "1")
network.wrong(
    "training: separate although clipped",
    "«storage.optimizer.isSeparable» && gradientMoments == nil",
    "true",
    AT_ONCE + "|ContinuationTests",
)
network.wrong(
    "training: packed matrices not stepped keep the old weights",
    "commit()\n    ⟦storage.matrices.invalidateAll()⟧",
    "_ = 0",
    AT_ONCE,
)
network.wrong(
    "training: other parameters make no step",
    "⟦optimizer.finishSeparateStep(learningRate: learningRate)⟧",
    "_ = 0",
    AT_ONCE,
)
network.wrong(
    "training: no controllers after a separate step",
    "finishSeparateStep(learningRate: learningRate)\n    ⟦controlRouters()⟧",
    "_ = 0",
    AT_ONCE,
)
by_hand = File(ERRORS, "Network/MoELayer.swift", "LayerStepTests")
by_hand.wrong(
    "layer, step: gradients of before stay", "⟦storage.optimizer.zeroOtherGradients()⟧", "_ = 0"
)
by_hand.wrong(
    "layer, step: separate gradients of before stay",
    "if !fits { ⟦storage.optimizer.zeroSeparateGradients()⟧ }",
    "_ = fits",
)
by_hand.wrong(
    "layer, step: a bound that holds anything",
    "«Optimizer.allows(layer.gradientBound(input.base, rows: dy.rows, pass))»",
    "true",
)
by_hand.wrong("layer, step: its own rate", "try step(«rate», separately: fits)", "0.5")
by_hand.wrong(
    "layer, step: micro-batches not forgotten", "⟦gradientMoments?.reset()⟧", "_ = 0"
)
network.wrong(
    "set parameter: packed matrix keeps the old weights",
    "⟦storage.matrices.invalidate(name)⟧",
    "_ = 0",
    "GradientTests|RoutingTests",
)
network.wrong(
    "step: no controllers",
    "for layer in layers { ⟦layer.router.control(afterStepWith: storage.losses)⟧ }",
    "_ = layer",
)
network.wrong("noise: step not counted", "⟦trainingForwards += 1⟧", "_ = 0")
network.wrong(
    "set buffer: not finite let through",
    "let bad = values.firstIndex(where: { «!$0.isFinite» })",
    "false",
    "RefusalTests",
)

layer = File(
    ERRORS, "Layer/RoutedLayer.swift", "ThresholdTests|StatisticsTests|OptimizerTests"
)
layer.wrong(
    "commit: stored thresholds not updated",
    "⟦router.followThresholds(pass.routing)⟧",
    "_ = 0",
)
layer.wrong(
    "commit: rows not counted for controllers",
    "⟦router.countForControl(expertOffsets: pass.dispatch.offsets, rows: rows)⟧",
    "_ = 0",
)
layer.wrong(
    "commit: no statistics",
    "⟦statistics.counters.add(pass.dispatch, pass.routing, weights: record.weights)⟧",
    "_ = 0",
)
statistics = File(
    ERRORS, "Statistics/LayerStatistics.swift", "StatisticsTests|SessionTests"
)
statistics.wrong(
    "commit: no statistics of evaluations",
    "⟦counters.add(pendingCounters)⟧",
    "_ = 0",
)

file = File(ERRORS, "Network/NetworkFile.swift", FILES)
file.wrong(
    "file: no buffers",
    "network.parameters + «network.buffers»",
    'network.buffers.filter { !$0.name.hasSuffix("control") }',
)
file.wrong("file: seed not written", "Key.seed: «String(storage.seed)»", "String(0)")
file.wrong(
    "file: optimizer steps not written",
    "Key.optimizerSteps: «String(storage.optimizer.steps)»",
    "String(storage.optimizer.steps + 1)",
)
file.wrong(
    "file: training forwards not written",
    "Key.trainingForwards: «String(network.trainingForwards)»",
    "String(0)",
)
file.wrong("file: seed not read", "self.seed = «seed»", "0")
file.wrong(
    "file: optimizer steps not read",
    "storage.optimizer.steps = «optimizerSteps»",
    "min(optimizerSteps, 1)",
)
file.wrong(
    "file: training forwards not read",
    "network.trainingForwards = «trainingForwards»",
    "0",
)
file.wrong(
    "file: numbers not finite let through",
    "if let bad = values.firstIndex(where: { «!$0.isFinite» }) {",
    "false",
    FILES + "|RefusalTests",
)
file.wrong(
    "file: unknown tensors let through",
    "if let unknown = file.names.first(where: { «!known.contains($0)» }) {",
    "false",
    FILES + "|RefusalTests",
)
file.wrong(
    "file: another kind let through", "guard «found == kind.rawValue» else", "true"
)
file.wrong(
    "file: another version let through",
    "guard «version == Self.version» else",
    "true",
    FILES + "|RefusalTests",
)
file.wrong(
    "file: another format let through",
    "guard «format == Self.format» else",
    "true",
    FILES + "|RefusalTests",
)

optimizer = File(ERRORS, "Optimizer/Optimizer.swift", FILES)
optimizer.wrong(
    "file: second moments are the first", 'tensors("v", «second.base»)', "first.base"
)
optimizer.wrong(
    "file: no momentum",
    "guard steps > 0, «first.capacity > 0» else { return [] }",
    "settings.kind == .adamw",
)

shapes = File(ERRORS, "Schedule/Schedule.swift", "ScheduleTests|ConfigurationTests")
shapes.wrong("schedule: descending", "case .descending: «1 - t»", "t")
shapes.larger("schedule: pyramid", "case .pyramid: «1 - abs(2 * t - 1)»")
shapes.wrong("schedule: valley", "case .valley: abs(2 * t - «1»)", "0.9")
shapes.larger(
    "schedule: wave", "case .wave: (1 + cos(2 * Double.pi * «cycles» * t)) / 2"
)
shapes.wrong("schedule: inverse wave", "case .inverseWave: «1» - (1", "0.9")
shapes.wrong("schedule: halves downwards", "(value + «0.5» + 1e-9)", "0.4999")
shapes.wrong(
    "schedule: error of a cosine decides a half", "(value + 0.5 + «1e-9»)", "0"
)
shapes.wrong("schedule: one layer", "let t = layers == 1 ? «0»", "1")

matched = File(ERRORS, "Schedule/Schedule+Matched.swift", "ScheduleTests")
matched.wrong(
    "matched schedule: error of a quota", "Int(($0 + «1e-9»).rounded(.down))", "0"
)
matched.wrong(
    "matched schedule: below 1",
    "candidates = counts.indices.filter { «step > 0 || counts[$0] > 1» }",
    "true",
)
matched.wrong(
    "matched schedule: ties by rounding", "sorted[first].urgency - «1e-9» {", "0"
)
matched.wrong(
    "matched schedule: smallest first",
    "urgency: { «Double(step)» * (quotas",
    "-Double(step)",
)
