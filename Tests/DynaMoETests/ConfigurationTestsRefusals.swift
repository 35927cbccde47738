import Testing

@testable import DynaMoE

/// Every refusal of the configuration schema: the message has the key, what came and what is
/// allowed.
@Suite struct ConfigurationRefusalTests {
  private func check(
    _ cases: [([String: String], String)], _ place: SourceLocation = #_sourceLocation
  ) {
    for (changes, expected) in cases {
      let message = Refusals.message(Refusals.network(changes))
      #expect(message.hasPrefix(expected), "\(changes): \(message)", sourceLocation: place)
    }
  }

  @Test func theUnchangedNetworkIsAccepted() {
    #expect(Refusals.message(Refusals.network([:])) == "accepted")
  }

  @Test func network() {
    check([
      (
        ["task": "\"clasification\""],
        "task must be one of classification, language_model, regression; got \"clasification\"; did you mean classification?"
      ),
      (["task": ""], "task is missing: it requires one of"),
      (["task": "1"], "task must be one of classification, language_model, regression; got 1"),
      (["inputs": "0"], "inputs must be an integer of at least 1; got 0"),
      (["inputs": "4.0"], "inputs must be an integer, without point or exponent; got 4.0"),
      (["inputs": "1e2"], "inputs must be an integer, without point or exponent; got 1e2"),
      (["inputs": "\"4\""], "inputs must be an integer; got \"4\""),
      (["inputs": "null"], "inputs must be an integer; got null"),
      (["inputs": "2147483648"], "inputs must be an integer of at most 2147483647; got 2147483648"),
      (
        ["inputs": "99999999999999999999"],
        "inputs must be an integer of at most 64 bits; got 99999999999999999999"
      ),
      (["inputs": ""], "inputs or vocabulary is missing"),
      (["vocabulary": "5"], "inputs and vocabulary exclude each other; got both"),
      (["inputs": "", "vocabulary": "0"], "vocabulary must be an integer of at least 1; got 0"),
      (["outputs": "0"], "outputs must be an integer of at least 1; got 0"),
      (["outputs": ""], "outputs is missing"),
      (["task": "\"language_model\"", "outputs": ""], "inputs is not used by task language_model"),
      (["task": "\"language_model\"", "inputs": "", "outputs": ""], "vocabulary is missing"),
      (
        ["task": "\"language_model\"", "inputs": "", "vocabulary": "5"],
        "outputs must be vocabulary, 5, with task language_model; got 3"
      ),
      (["width": "0"], "width must be an integer of at least 1; got 0"),
      (["width": "true"], "width must be an integer; got true"),
      (["width": ""], "width is missing: it requires an integer"),
      (["width": "-9223372036854775808"], "width must be an integer of at least 1"),
      (["width": "2147483647"], "hidden (default 4 * width) must be an integer of at most"),
      (["shared_experts": "-1"], "shared_experts must be an integer of at least 0; got -1"),
      (["shared_experts": "[1]"], "shared_experts must be an integer; got a list of 1"),
      (
        ["activation": "\"glu\""],
        "activation must be one of relu, gelu, gelu_tanh, silu, swiglu, geglu; got \"glu\"; did you mean gelu?"
      ),
      (["bias": "1"], "bias must be true or false; got 1"),
      (["residual": "\"yes\""], "residual must be true or false; got \"yes\""),
      (["norm": "\"batch\""], "norm must be one of none, layer, rms; got \"batch\""),
      (
        ["tied_embedding": "true"],
        "tied_embedding must be false unless task is language_model; got true"
      ),
      (["widht": "8"], "unknown key widht; did you mean width?"),
      (["lr": "0.1"], "unknown key lr; it belongs to optimizer"),
      (["learning": "0.1"], "unknown key learning; allowed are task, inputs"),
      (["Router": "{}"], "unknown key Router; did you mean router?"),
    ])
  }

  @Test func counts() {
    check([
      (
        ["experts": ""],
        "experts is missing: it requires a list with the experts of each layer, or a schedule"
      ),
      (["experts": "[]"], "experts must have at least one layer; got an empty list"),
      (
        ["experts": "4"],
        "experts must be a list with the experts of each layer, or a schedule; got 4"
      ),
      (["experts": "[4, 0]"], "experts[1] must be an integer of at least 1; got 0"),
      (
        ["experts": "[4, 2.5]"], "experts[1] must be an integer, without point or exponent; got 2.5"
      ),
      (
        ["experts": "[4, 1048577]"], "experts[1] must be an integer of at most 1048576; got 1048577"
      ),
      (
        ["experts": "{\"schedule\": \"wavy\", \"layers\": 2, \"maximum\": 4}"],
        "experts.schedule must be one of uniform, descending, ascending, pyramid, valley, wave, inverse_wave; got \"wavy\"; did you mean wave?"
      ),
      (["experts": "{\"layers\": 2, \"maximum\": 4}"], "experts.schedule is missing"),
      (["experts": "{\"schedule\": \"wave\", \"layers\": 2}"], "experts.maximum is missing"),
      (["experts": "{\"schedule\": \"wave\", \"maximum\": 2}"], "experts.layers is missing"),
      (
        ["experts": "{\"schedule\": \"wave\", \"layers\": 0, \"maximum\": 4}"],
        "experts.layers must be an integer of at least 1; got 0"
      ),
      (
        ["experts": "{\"schedule\": \"wave\", \"layers\": 100000, \"maximum\": 4}"],
        "experts.layers must be an integer of at most 65536; got 100000"
      ),
      (
        ["experts": "{\"schedule\": \"wave\", \"layers\": 2, \"minimum\": 5, \"maximum\": 4}"],
        "experts.minimum must not be above experts.maximum; got minimum 5, maximum 4"
      ),
      (
        ["experts": "{\"schedule\": \"wave\", \"layers\": 2, \"minimum\": 0, \"maximum\": 4}"],
        "experts.minimum must be an integer of at least 1; got 0"
      ),
      (
        ["experts": "{\"schedule\": \"uniform\", \"layers\": 2, \"maximum\": 4, \"cycles\": 0}"],
        "experts.cycles must be a number above 0"
      ),
      (
        ["experts": "{\"schedule\": \"uniform\", \"layers\": 3, \"maximum\": 4, \"total\": 2}"],
        "experts.total must be at least the number of layers, 3; got 2"
      ),
      (
        ["experts": "{\"schedule\": \"uniform\", \"layers\": 3, \"maximum\": 4, \"totals\": 2}"],
        "unknown key experts.totals; did you mean total?"
      ),
      (["hidden": "0"], "hidden must be an integer of at least 1; got 0"),
      (["hidden": "null"], "hidden must be an integer, a list or a schedule; got null"),
      (["hidden": "[8]"], "hidden must have one element per layer, which is 2; got a list of 1"),
      (["hidden": "[8, -1]"], "hidden[1] must be an integer of at least 1; got -1"),
      (
        ["hidden": "{\"schedule\": \"uniform\", \"layers\": 2, \"maximum\": 4}"],
        "unknown key hidden.layers"
      ),
      (
        ["width": "500000000", "experts": "[1000000, 1]", "hidden": "2000000000"],
        "width, hidden, experts and the other sizes together ask for"
      ),
      (
        ["width": "2000000000", "inputs": "2000000000", "hidden": "1"],
        "width, hidden, experts and the other sizes together ask for"
      ),
    ])
  }

  @Test func router() {
    check([
      (["router": ""], "router is missing"),
      (
        ["router": "\"top_k\""],
        "router must be an object, or a list with one per layer; got \"top_k\""
      ),
      (
        ["router": "[{\"kind\": \"dense\"}]"],
        "router must be one object, or a list with one per layer, which is 2; got a list of 1"
      ),
      (
        ["router": "[]"],
        "router must be one object, or a list with one per layer, which is 2; got a list of 0"
      ),
      (["router": "[{\"kind\": \"dense\"}, 3]"], "router[1] must be an object; got 3"),
      (
        ["router": "[{\"kind\": \"dense\"}, {\"kind\": \"top_k\", \"k\": 0}]"],
        "router[1].k must be an integer of at least 1; got 0"
      ),
      (Refusals.router("\"k\": 2"), "router.kind is missing"),
      (
        Refusals.router("\"kind\": \"topk\", \"k\": 2"),
        "router.kind must be one of percentile, threshold, expert_threshold, top_k, top_p, top_any, relu, dense; got \"topk\"; did you mean top_k?"
      ),
      (Refusals.router("\"kind\": \"top_k\""), "router.k is missing: kind top_k requires"),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 0"),
        "router.k must be an integer of at least 1; got 0"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2.0"),
        "router.k must be an integer, without point or exponent; got 2.0"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"k\": 2"),
        "the configuration is not valid JSON: router.k: this key occurs twice at line 1, column"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"noise\": NaN"),
        "the configuration is not valid JSON: router.noise: NaN is not a number of JSON"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"noise\": 1e999"),
        "the configuration is not valid JSON: router.noise: this number is too large"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"noise\": -1"),
        "router.noise must be a number of at least 0; got -1.0"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"noise\": 1e39"),
        "router.noise must be at most 3.4028234663852886e+38 in magnitude; got 1e+39"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"temperature\": 0"),
        "router.temperature must be a number above 0; got 0.0"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"temperature\": 1e-300"),
        "router.temperature must be at least 1.1754944e-38; got 1e-300"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"temprature\": 1"),
        "unknown key router.temprature; did you mean temperature?"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"width\": 1"),
        "unknown key router.width; it belongs to the top of the configuration"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"gate\": \"sigmoid\""),
        "router.gate must be one of softmax, normalized, raw; got \"sigmoid\""
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"min_active\": -1"),
        "router.min_active must be an integer of at least 0; got -1"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"min_active\": null"),
        "router.min_active must be an integer; got null"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"max_active\": 0"),
        "router.max_active must be an integer of at least 1; got 0"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"min_active\": 3, \"max_active\": 2"),
        "router.max_active must be at least router.min_active, 3; got 2"
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"max_active\": \"all\""),
        "router.max_active must be an integer or null; got \"all\""
      ),
      (
        Refusals.router("\"kind\": \"top_k\", \"k\": 2, \"balance_rate\": -0.1"),
        "router.balance_rate must be a number of at least 0; got -0.1"
      ),
      (
        Refusals.router("\"kind\": \"percentile\", \"percentile\": 1.5"),
        "router.percentile must be a number from 0 to 1; got 1.5"
      ),
      (
        Refusals.router("\"kind\": \"percentile\", \"percentile\": -0.1"),
        "router.percentile must be a number from 0 to 1; got -0.1"
      ),
      (
        Refusals.router("\"kind\": \"threshold\""),
        "router.target_active is missing: kind threshold requires"
      ),
      (
        Refusals.router("\"kind\": \"expert_threshold\""),
        "router.target_active is missing: kind expert_threshold requires"
      ),
      (
        Refusals.router("\"kind\": \"threshold\", \"target_active\": 0"),
        "router.target_active must be a number above 0; got 0.0"
      ),
      (
        Refusals.router("\"kind\": \"threshold\", \"target_active\": \"2\""),
        "router.target_active must be a number, a list or a schedule; got \"2\""
      ),
      (
        Refusals.router("\"kind\": \"threshold\", \"target_active\": [1, 2, 3]"),
        "router.target_active must have one element per layer, which is 2; got a list of 3"
      ),
      (
        Refusals.router("\"kind\": \"threshold\", \"target_active\": [1, -2]"),
        "router.target_active[1] must be a number above 0; got -2.0"
      ),
      (
        Refusals.router(
          "\"kind\": \"threshold\", \"target_active\": {\"schedule\": \"wave\", \"maximum\": 0}"),
        "router.target_active.maximum must be an integer of at least 1; got 0"
      ),
      (
        Refusals.router("\"kind\": \"threshold\", \"target_active\": 2, \"momentum\": 1"),
        "router.momentum must be a number of at least 0 and below 1; got 1.0"
      ),
      (
        Refusals.router("\"kind\": \"top_p\", \"p\": 0"),
        "router.p must be a number above 0 and at most 1; got 0.0"
      ),
      (
        Refusals.router("\"kind\": \"top_p\", \"p\": 1.1"),
        "router.p must be a number above 0 and at most 1; got 1.1"
      ),
      (
        Refusals.router("\"kind\": \"top_any\", \"scale\": -1"),
        "router.scale must be a number above 0; got -1.0"
      ),
    ])
  }

  @Test func training() {
    check([
      (["losses": "[]"], "losses must be an object; got an empty list"),
      (["losses": "{\"balanse\": 1}"], "unknown key losses.balanse; did you mean balance?"),
      (["losses": "{\"z\": \"1\"}"], "losses.z must be a number; got \"1\""),
      (
        ["losses": "{\"sparsity\": -1}"], "losses.sparsity must be a number of at least 0; got -1.0"
      ),
      (["optimizer": "\"adamw\""], "optimizer must be an object; got \"adamw\""),
      (
        ["optimizer": "{\"kind\": \"adam\"}"],
        "optimizer.kind must be one of adamw, sgd; got \"adam\"; did you mean adamw?"
      ),
      (["optimizer": "{\"lr\": -1}"], "optimizer.lr must be a number of at least 0; got -1.0"),
      (["optimizer": "{\"lr\": null}"], "optimizer.lr must be a number; got null"),
      (
        ["optimizer": "{\"lr\": Infinity}"],
        "the configuration is not valid JSON: optimizer.lr: Infinity is not a number"
      ),
      (
        ["optimizer": "{\"lr\": -Infinity}"],
        "the configuration is not valid JSON: optimizer.lr: -Infinity is not a number"
      ),
      (["optimizer": "{\"betas\": 0.9}"], "optimizer.betas must be a list of two numbers; got 0.9"),
      (
        ["optimizer": "{\"betas\": [0.9]}"],
        "optimizer.betas must be a list of two numbers; got a list of 1"
      ),
      (
        ["optimizer": "{\"betas\": [0.9, 1]}"],
        "optimizer.betas[1] must be a number of at least 0 and below 1; got 1.0"
      ),
      (
        ["optimizer": "{\"betas\": [-0.9, 0]}"], "optimizer.betas[0] must be a number of at least 0"
      ),
      (["optimizer": "{\"betas\": [\"a\", 0]}"], "optimizer.betas[0] must be a number; got \"a\""),
      (["optimizer": "{\"eps\": 0}"], "optimizer.eps must be a number above 0; got 0.0"),
      (
        ["optimizer": "{\"momentum\": 0.9}"],
        "optimizer.momentum is not used by kind adamw; it belongs to sgd"
      ),
      (
        ["optimizer": "{\"nesterov\": false}"],
        "optimizer.nesterov is not used by kind adamw; it belongs to sgd"
      ),
      (
        ["optimizer": "{\"kind\": \"sgd\", \"betas\": [0, 0]}"],
        "optimizer.betas is not used by kind sgd; it belongs to adamw"
      ),
      (
        ["optimizer": "{\"kind\": \"sgd\", \"eps\": 1}"],
        "optimizer.eps is not used by kind sgd; it belongs to adamw"
      ),
      (
        ["optimizer": "{\"kind\": \"sgd\", \"momentum\": 1}"],
        "optimizer.momentum must be a number of at least 0 and below 1; got 1.0"
      ),
      (
        ["optimizer": "{\"kind\": \"sgd\", \"nesterov\": true}"],
        "optimizer.nesterov requires optimizer.momentum above 0; got momentum 0.0"
      ),
      (
        ["optimizer": "{\"weight_decay\": -1}"],
        "optimizer.weight_decay must be a number of at least 0; got -1.0"
      ),
      (["optimizer": "{\"decay_all\": 0}"], "optimizer.decay_all must be true or false; got 0"),
      (["optimizer": "{\"clip\": 0}"], "optimizer.clip must be a number above 0; got 0.0"),
      (["optimizer": "{\"clip\": true}"], "optimizer.clip must be a number or null; got true"),
      (
        ["optimizer": "{\"warmup\": -1}"],
        "optimizer.warmup must be an integer of at least 0; got -1"
      ),
      (
        ["optimizer": "{\"warmup\": 1.5}"],
        "optimizer.warmup must be an integer, without point or exponent; got 1.5"
      ),
      (
        ["optimizer": "{\"warmup\": 5, \"total\": 5}"],
        "optimizer.total must be an integer above optimizer.warmup, 5; got 5"
      ),
      (
        ["optimizer": "{\"total\": 0}"],
        "optimizer.total must be an integer above optimizer.warmup, 0; got 0"
      ),
      (
        ["optimizer": "{\"total\": 9007199254740993}"],
        "optimizer.total must be an integer of at most 9007199254740992"
      ),
      (["optimizer": "{\"floor\": 1.5}"], "optimizer.floor must be a number from 0 to 1; got 1.5"),
    ])
  }
}
