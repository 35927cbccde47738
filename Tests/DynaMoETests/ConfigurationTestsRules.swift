import Testing

@testable import DynaMoE

/// Networks that are wrong in one place, and what is said about them.
enum Refusals {
  /// A valid network of two layers with members replaced, added (`"key": …`) or, with an empty
  /// text, removed.
  static func network(_ changes: [String: String]) -> String {
    var members = [
      "task": "\"classification\"", "inputs": "4", "outputs": "3", "width": "8",
      "experts": "[4, 2]",
      "router": "{\"kind\": \"top_k\", \"k\": 2}",
    ]
    for (key, value) in changes { members[key] = value.isEmpty ? nil : value }
    return "{"
      + members.keys.sorted().map { "\"\($0)\": \(members[$0] ?? "")" }.joined(separator: ", ")
      + "}"
  }

  static func router(_ members: String) -> [String: String] { ["router": "{\(members)}"] }

  static func message(_ json: String) -> String {
    do throws(DynaMoEError) {
      _ = try ModelConfiguration(json: json)
      return "accepted"
    } catch {
      if case .argument(let message) = error { return message }
      return "not an argument error: \(error)"
    }
  }
}

/// Rules that hold across settings, and for values made in Swift as for JSON.
@Suite struct ConfigurationRuleTests {
  /// Every setting with every kind: accepted by the kinds of the schema, refused by name by all
  /// others.
  @Test func settingsBelongToKinds() {
    let values = [
      "gate": "\"raw\"", "temperature": "2", "noise": "0", "min_active": "1", "max_active": "2",
      "balance_rate": "0", "percentile": "0.5", "target_active": "1", "momentum": "0.5", "k": "1",
      "p": "0.5", "scale": "1",
    ]
    let users: [String: Set<String>] = [
      "gate": ["percentile", "threshold", "expert_threshold", "top_k", "top_p", "dense"],
      "temperature": [
        "percentile", "threshold", "expert_threshold", "top_k", "top_p", "relu", "dense",
      ],
      "noise": ["percentile", "threshold", "expert_threshold", "top_k", "top_p", "dense"],
      "min_active": [
        "percentile", "threshold", "expert_threshold", "top_k", "top_p", "top_any", "relu", "dense",
      ],
      "max_active": [
        "percentile", "threshold", "expert_threshold", "top_k", "top_p", "top_any", "relu", "dense",
      ],
      "balance_rate": ["percentile", "threshold", "top_k", "top_p"],
      "percentile": ["percentile"],
      "target_active": ["threshold", "expert_threshold", "top_p", "relu"],
      "momentum": ["threshold", "expert_threshold"],
      "k": ["top_k"], "p": ["top_p"], "scale": ["top_any"],
    ]
    let kinds = [
      "percentile", "threshold", "expert_threshold", "top_k", "top_p", "top_any", "relu", "dense",
    ]
    #expect(Set(values.keys) == Set(RouterConfiguration.Setting.allCases.map(\.rawValue)))
    for kind in kinds {
      let required = [
        "threshold": "target_active", "expert_threshold": "target_active", "top_k": "k",
      ][kind]
      for (key, value) in values {
        var members = ["\"kind\": \"\(kind)\"", "\"\(key)\": \(value)"]
        if let required, required != key { members.append("\"\(required)\": 1") }
        let message = Refusals.message(
          Refusals.network(Refusals.router(members.joined(separator: ", "))))
        if users[key]!.contains(kind) {
          #expect(message == "accepted", "\(kind), \(key)")
        } else {
          #expect(
            message.hasPrefix("router.\(key) is not used by kind \(kind); it belongs to "),
            "\(message)")
        }
      }
    }
  }

  @Test func swiftValuesTakeTheSamePath() {
    let valid = ModelConfiguration(
      task: .classification, inputs: 4, outputs: 3, width: 8, experts: [4, 2], router: .topK(2))
    func message(_ change: (inout ModelConfiguration) -> Void) -> String {
      var configuration = valid
      change(&configuration)
      do throws(DynaMoEError) {
        try configuration.validate()
        return "accepted"
      } catch { return error.description }
    }
    #expect(message { _ in } == "accepted")
    #expect(message { $0.routers = [] }.hasPrefix("router must be one object"))
    #expect(
      message { $0.routers[0].noise = .nan }
        == "router.noise must be a number of at least 0; got nan")
    #expect(
      message { $0.routers[0].noise = .infinity }
        == "router.noise must be a number of at least 0; got inf")
    #expect(message { $0.losses.z = -.infinity } == "losses.z must be a finite number; got -inf")
    #expect(message { $0.losses.z = -1 } == "accepted")
    #expect(
      message { $0.routers[0].p = 0.5 } == "router.p is not used by kind top_k; it belongs to top_p"
    )
    #expect(message { $0.width = .max }.hasPrefix("width must be an integer of at most"))
    #expect(message { $0.width = .min }.hasPrefix("width must be an integer of at least 1"))
    #expect(
      message { $0.experts = .list([.max]) }.hasPrefix("experts[0] must be an integer of at most"))
    #expect(
      message { $0.experts = .list(Array(repeating: 1, count: 65_537)) }.hasPrefix(
        "the length of experts must be"))
    #expect(message { $0.hidden = [3] }.hasPrefix("hidden must have one element per layer"))
    #expect(message { $0.optimizer.beta2 = 1 }.hasPrefix("optimizer.betas[1] must be"))
    #expect(
      message {
        $0.optimizer.warmup = .min
        $0.optimizer.total = .max
      }.hasPrefix("optimizer.warmup must be"))
    #expect(message { $0.tiedEmbedding = true }.hasPrefix("tied_embedding must be false"))
    #expect(
      message { $0.routers = [.topK(1), .threshold(targetActive: -1)] }.hasPrefix(
        "router[1].target_active must be"))
  }

  @Test func singleLayers() {
    func message(_ json: String) -> String {
      do throws(DynaMoEError) {
        _ = try LayerConfiguration(json: json)
        return "accepted"
      } catch { return error.description }
    }
    let router = "\"router\": {\"kind\": \"top_k\", \"k\": 2}"
    #expect(message("{\"width\": 8, \"experts\": 4, \(router)}") == "accepted")
    #expect(message("{\"width\": 8, \"experts\": 4, \"hidden\": [5], \(router)}") == "accepted")
    #expect(
      message("{\"width\": 8, \"experts\": [4], \(router)}")
        == "experts must be an integer; got a list of 1")
    #expect(
      message("{\"width\": 8, \"experts\": 0, \(router)}")
        == "experts must be an integer of at least 1; got 0")
    #expect(message("{\"width\": 8, \(router)}") == "experts is missing: it requires an integer")
    #expect(
      message("{\"width\": 8, \"experts\": 4, \"norm\": \"rms\", \(router)}").hasPrefix(
        "unknown key norm; allowed are width"))
    #expect(message("{\"width\": 8, \"experts\": 4}").hasPrefix("router is missing"))
    #expect(
      message("{\"width\": 8, \"experts\": 4, \"router\": {\"kind\": \"dense\", \"k\": 2}}")
        .hasPrefix("router.k is not used by kind dense"))
    #expect(message("{\"width\": 0, \"experts\": 4, \(router)}").hasPrefix("width must be"))
    #expect(message("[]") == "the configuration must be an object; got an empty list")
    #expect(
      message("")
        == "the configuration is not valid JSON: the document ends where a value is expected at line 1, column 1"
    )
  }
}
