"""Errors in gradients, nearly all of one per cent."""

from planted.error import File

ERRORS = []

ROUTERS = r"GradientTests/(routers|routerSettings|auxiliary)|BackwardTests"
AUXILIARY = r"GradientTests/(auxiliary|routers)"
EXPERTS = r"GradientTests/expertsAndNorms|BackwardTests"
HEADS = r"GradientTests/(tasksAndHeads|expertsAndNorms)|BackwardTests"

router = File(ERRORS, "Router/Router+Backward.swift", ROUTERS)
router.larger(
    "gradient: top_any thresholds",
    "Float(«-sum» * theta * (1 - theta) * settings.scale)",
)
router.wrong(
    "gradient: top_any thresholds without scale",
    "Float(-sum * theta * (1 - theta) * «settings.scale»)",
    "1",
)
router.wrong(
    "gradient: top_any thresholds without K",
    "sum += Double(step.weightGradient[pair]) / «Double(k)»",
    "1",
)
router.larger("gradient: top_any scores", "g[e] *= «score * (1 - score)»")
router.larger(
    "gradient: top_any share 1/K",
    "let share = «1 / Float(index - Int(step.firstOfRow[t]))»",
)
router.larger(
    "gradient: temperature",
    "inverseTemperature = Float(«1 / router.settings.temperature»)",
)
router.larger(
    "gradient: softmax of scores, own",
    "g[e] = «scores[e]» * (g[e] - mean) * inverseTemperature",
)
router.larger(
    "gradient: softmax of scores, mean",
    "g[e] = scores[e] * (g[e] - «mean») * inverseTemperature",
)
router.wrong("gradient: raw gate", "case .raw: ⟦return⟧", "enlarge(g, count); return")
router.larger("gradient: softmax gate", "g[e] = «w[e] * (g[e] - mean)»")
router.larger("gradient: softmax gate, mean", "g[e] = w[e] * (g[e] - «mean»)")
router.larger(
    "gradient: normalized gate", "(isClamped ? g[e] : «g[e] - mean») * inverse"
)
router.larger(
    "gradient: normalized gate, mean", "(isClamped ? g[e] : g[e] - «mean») * inverse"
)
router.larger(
    "gradient: normalized gate, clamped", "(isClamped ? «g[e]» : g[e] - mean) * inverse"
)
router.wrong(
    "gradient: normalized gate, clamp forgotten",
    "let isClamped = «sum < leastScoreSum»",
    "false",
)
router.larger(
    "gradient: normalized gate, divisor", "let inverse = «1 / max(sum, leastScoreSum)»"
)
router.larger(
    "gradient: balance",
    "Float(«balanceGradient(e)» + entropyGradient(Double(s[t * count + e])))",
    AUXILIARY,
)
router.larger(
    "gradient: entropy",
    "Float(balanceGradient(e) + «entropyGradient(Double(s[t * count + e]))»)",
    AUXILIARY,
)
router.larger(
    "gradient: balance, share of the load",
    "Double(step.offsets[e + 1] - step.offsets[e]) / «totalPairs»",
    AUXILIARY,
)
router.larger(
    "gradient: entropy, logarithm", "-step.auxiliary.entropy * «log(s)»", AUXILIARY
)
router.larger(
    "gradient: balance of shares",
    "Float((«balanceGradient(e)» + entropyGradient(share) - mean) / sum)",
    AUXILIARY,
)
router.larger(
    "gradient: entropy of shares",
    "Float((balanceGradient(e) + «entropyGradient(share)» - mean) / sum)",
    AUXILIARY,
)
router.larger(
    "gradient: mean of shares",
    "Float((balanceGradient(e) + entropyGradient(share) - «mean») / sum)",
    AUXILIARY,
)
router.larger(
    "gradient: sum of shares",
    "Float((balanceGradient(e) + entropyGradient(share) - mean) / «sum»)",
    AUXILIARY,
)
router.wrong(
    "gradient: relu of inactive",
    "for e in 0..<count where !(logits[e] > 0) { ⟦g[e] = 0⟧ }",
    "_ = e",
)
router.followed(
    "gradient: relu",
    "for e in 0..<count where !(logits[e] > 0) { g[e] = 0 }",
    "enlarge(g, count)",
)
router.larger(
    "gradient: balance under relu",
    "score * («balanceGradient(e)» + entropyGradient(score) - mean)",
    AUXILIARY,
)
router.larger(
    "gradient: entropy under relu",
    "score * (balanceGradient(e) + «entropyGradient(score)» - mean)",
    AUXILIARY,
)
router.larger(
    "gradient: mean under relu",
    "score * (balanceGradient(e) + entropyGradient(score) - «mean»)",
    AUXILIARY,
)
router.wrong(
    "gradient: temperature under relu",
    "Float(gradient) * «inverseTemperature»",
    "1",
    AUXILIARY,
)
router.larger(
    "gradient: sparsity",
    "gradient += Float(«step.auxiliary.sparsity * load»)",
    AUXILIARY,
)
router.larger(
    "gradient: z", "let factor = «Float(step.auxiliary.z) * logSumExp[t]»", AUXILIARY
)
router.wrong(
    "gradient: z of scores",
    "expf(«logits[e]» - logSumExp[t])",
    "logits[e] * 0.99",
    AUXILIARY,
)
router.followed(
    "gradient: router weights",
    "projection.weightGradients(groups, outputGradient: dz, x)",
    "enlarge(projection.weightGradient, n * width)",
)
router.followed(
    "gradient: router input",
    "projection.inputGradient(groups, outputGradient: dz, into: dx)",
    "enlarge(dx, rows * width)",
)

cosine = File(ERRORS, "Router/Router+Cosine.swift", ROUTERS)
cosine.larger(
    "gradient: cosine, correction of W",
    "let factor = «Float(-sum)» / (weightNorms[e] * weightNorms[e])",
)
cosine.larger(
    "gradient: cosine, correction of x", "norm > leastNorm ? «-sum / (norm * norm)» : 0"
)
cosine.larger(
    "gradient: cosine, product",
    "gradient[e] *= «scale / (inputNorms[row] * weightNorms[e])»",
)
cosine.wrong(
    "gradient: cosine, small x is no constant",
    "«norm > leastNorm» ? -sum / (norm * norm) : 0",
    "true",
)
cosine.wrong(
    "gradient: cosine, small W is no constant",
    "for e in 0..<n where «weightNorms[e] > leastNorm»",
    "true",
)

auxiliary = File(ERRORS, "Losses/AuxiliaryLosses.swift", AUXILIARY)
auxiliary.larger(
    "gradient: balance coefficient", "balance: «losses.balance * n / count», z"
)
auxiliary.larger("gradient: z coefficient", "z: «2 * losses.z / count»")
auxiliary.larger("gradient: entropy coefficient", "entropy: «losses.entropy / count»")
auxiliary.larger(
    "gradient: sparsity coefficient", "«sparsity * n / ($0 * count * count)»"
)

norm = File(ERRORS, "Layer/NormLayer.swift", EXPERTS)
norm.larger(
    "gradient: layer norm, deviation",
    "weight: self.weight, mean: mean[row], rstd: «inverse[row]»",
)
norm.wrong(
    "gradient: layer norm, mean",
    "weight: self.weight, mean: «mean[row]», rstd",
    "mean[row] + 0.01",
)
norm.larger(
    "gradient: rms norm, deviation",
    "x + offset, d, weight: self.weight, rstd: «inverse[row]»",
)
norm.followed(
    "gradient: norm weight",
    "backend.addColumnSums(dy, times: normalised, rows: rows, columns: d, to: weightGradient)",
    "enlarge(weightGradient, d)",
)
norm.followed(
    "gradient: norm bias",
    "backend.addColumnSums(dy, times: nil, rows: rows, columns: d, to: biasGradient)",
    "enlarge(biasGradient, d)",
)
norm.wrong(
    "gradient: norm input",
    "⟦⟧backend.addColumnSums(dy, times: normalised",
    "enlarge(dx, rows * d)",
)

block = File(ERRORS, "Network/Block.swift", EXPERTS)
block.wrong(
    "gradient: residual",
    "backend.add(\n        dNext + range.lowerBound * d, to: dh + range.lowerBound * "
    "d, range.count * d)",
    "backend.addScaled(dNext + range.lowerBound * d, by: 1.01, to: dh + "
    "range.lowerBound * d, range.count * d)",
)
block.wrong(
    "gradient: residual missing",
    "guard «hasResidual» else { return }\n    let start",
    "false",
)

experts = File(ERRORS, "Experts/ExpertBank.swift", EXPERTS)
DOWN = (
    "down.weightGradients(\n      groups.ungathered, outputGradient: activations.output.base, "
    "activations.hidden.base, use)"
)
UP = "up.weightGradients(groups, outputGradient: activations.up.base, x, use)"
GATE = "gate?.weightGradients(groups, outputGradient: activations.gate.base, x, use)"
THROUGH = (
    "down.inputGradient(\n      sorted, outputGradient: activations.output.base,\n"
    "      through: gate == nil\n        ? .plain(\n"
    "          function, of: needsUp ? upGradient : activations.hidden.base, into: upGradient)\n"
    "        : .gated(function, gate: activations.gate.base, up: upGradient),\n"
    "      largest: activations.largestGradient)"
)
experts.followed(
    "gradient: down", DOWN, "enlarge(down.weightGradient, count * width * hidden)"
)
experts.followed(
    "gradient: down bias",
    DOWN,
    "if let bias = down.biasGradient { enlarge(bias, count * width) }",
)
experts.followed(
    "gradient: up", UP, "enlarge(up.weightGradient, count * width * hidden)"
)
experts.followed(
    "gradient: up bias",
    UP,
    "if let bias = up.biasGradient { enlarge(bias, count * hidden) }",
)
experts.followed(
    "gradient: gate",
    GATE,
    "if let gate { enlarge(gate.weightGradient, count * width * hidden) }",
)
experts.followed(
    "gradient: gate bias",
    GATE,
    "if let bias = gate?.biasGradient { enlarge(bias, count * hidden) }",
)
experts.followed(
    "gradient: through the activation",
    THROUGH,
    "enlarge(upGradient, sorted.rows * hidden)",
)
experts.followed(
    "gradient: through the gate",
    THROUGH,
    "if gate != nil { enlarge(activations.gate.base, sorted.rows * hidden) }",
)
experts.followed(
    "gradient: input of up",
    "up.inputGradient(sorted, outputGradient: upGradient, into: inputGradient)",
    "enlarge(inputGradient, sorted.rows * width)",
)
experts.wrong(
    "gradient: input of gate",
    "sorted, outputGradient: «activations.gate.base», into: inputGradient, accumulate: true)",
    "upGradient",
)

layer = File(ERRORS, "Layer/RoutedLayer.swift", EXPERTS)
layer.larger(
    "gradient: of expert outputs",
    "gradient, by: «weights[row * n + Int(expertOfRow[index])]»",
)
layer.larger(
    "gradient: of gate weights",
    "weightGradient[pair] = «backend.dot(gradient, output + pair * d, d)»",
)
layer.wrong(
    "gradient: of shared outputs",
    "(sharedOutput + (j * rows + row) * d).update(from: gradient, count: d)",
    "backend.scale(gradient, by: 1.01, into: sharedOutput + (j * rows + row) * d, d)",
)
layer.wrong(
    "gradient: input of shared",
    "backend.add(sharedPairs + (j * rows + row) * d, to: dxRow, d)",
    "backend.addScaled(sharedPairs + (j * rows + row) * d, by: 1.01, to: dxRow, d)",
)
layer.wrong(
    "gradient: input of experts",
    "backend.add(pairs + Int(pairOfRow[index]) * d, to: dxRow, d)",
    "backend.addScaled(pairs + Int(pairOfRow[index]) * d, by: 1.01, to: dxRow, d)",
)

head = File(ERRORS, "Network/Head.swift", HEADS)
WEIGHT = "projection.weightGradients($0, outputGradient: outputGradient, x, use)"
head.followed(
    "gradient: head", WEIGHT, "enlarge(projection.weightGradient, outputs * width)"
)
head.followed(
    "gradient: head bias",
    WEIGHT,
    "if let bias = projection.biasGradient { enlarge(bias, outputs) }",
)
head.followed(
    "gradient: input of head",
    "projection.inputGradient($0, outputGradient: outputGradient, into: dx)",
    "enlarge(dx, rows * width)",
)

first = File(ERRORS, "Network/InputLayer.swift", HEADS)
WEIGHT = "projection.weightGradients($0, outputGradient: dh, x, use)"
first.followed(
    "gradient: input projection",
    WEIGHT,
    "enlarge(projection.weightGradient, inputs * width)",
)
first.followed(
    "gradient: input bias",
    WEIGHT,
    "if let bias = projection.biasGradient { enlarge(bias, width) }",
)
first.followed(
    "gradient: x",
    "projection.inputGradient($0, outputGradient: dh, into: dx)",
    "enlarge(dx, rows * inputs)",
)
first.wrong(
    "gradient: embedding",
    "backend.add(\n            dh + row * d + range.lowerBound, "
    "to: gradient + Int(ids[row]) * d + range.lowerBound,\n"
    "            range.count)",
    "backend.addScaled(dh + row * d + range.lowerBound, by: 1.01, "
    "to: gradient + Int(ids[row]) * d + range.lowerBound, range.count)",
)
