extension Schedule {
  static let keys = ["schedule", "minimum", "maximum", "cycles", "total"]

  init(_ reader: ObjectReader) throws(DynaMoEError) {
    self.init(
      try reader.requiredChoice("schedule", Shape.self),
      minimum: try reader.integer("minimum") ?? 1,
      maximum: try reader.requiredInteger("maximum"), cycles: try reader.number("cycles") ?? 2,
      total: try reader.integerOrNull("total"))
  }

  func object(layers: Int? = nil) -> JSONValue {
    var object = JSONObject()
    object.append("schedule", .string(shape.rawValue))
    if let layers { object.append("layers", .integer(layers)) }
    object.append("minimum", .integer(minimum))
    object.append("maximum", .integer(maximum))
    object.append("cycles", .real(cycles))
    object.append("total", total.map(JSONValue.integer) ?? .null)
    return .object(object)
  }
}

extension ExpertCounts {
  init(_ value: JSONValue, path: String) throws(DynaMoEError) {
    if let counts = try value.list(
      path, { (value, path) throws(DynaMoEError) in try value.integer(path) })
    {
      self = .list(counts)
      return
    }
    guard case .object = value else {
      throw .argument(
        "\(path) must be a list with the experts of each layer, or a schedule; got \(value.summary)"
      )
    }
    let reader = try ObjectReader(value, path: path, keys: Schedule.keys + ["layers"])
    let schedule = try Schedule(reader)
    self = .schedule(schedule, layers: try reader.requiredInteger("layers"))
  }

  var value: JSONValue {
    switch self {
    case .list(let counts): .array(counts.map(JSONValue.integer))
    case .schedule(let schedule, let layers): schedule.object(layers: layers)
    }
  }
}

extension LayerCounts {
  init(_ value: JSONValue, path: String) throws(DynaMoEError) {
    if let counts = try value.list(
      path, { (value, path) throws(DynaMoEError) in try value.integer(path) })
    {
      self = .list(counts)
    } else if case .object = value {
      self = .schedule(try Schedule(ObjectReader(value, path: path, keys: Schedule.keys)))
    } else {
      self = .all(try value.integer(path, "an integer, a list or a schedule"))
    }
  }

  var value: JSONValue {
    switch self {
    case .all(let count): .integer(count)
    case .list(let counts): .array(counts.map(JSONValue.integer))
    case .schedule(let schedule): schedule.object()
    }
  }
}

extension LayerValues {
  init(_ value: JSONValue, path: String) throws(DynaMoEError) {
    if let values = try value.list(
      path, { (value, path) throws(DynaMoEError) in try value.number(path) })
    {
      self = .list(values)
    } else if case .object = value {
      self = .schedule(try Schedule(ObjectReader(value, path: path, keys: Schedule.keys)))
    } else {
      self = .all(try value.number(path, "a number, a list or a schedule"))
    }
  }

  var value: JSONValue {
    switch self {
    case .all(let value): .real(value)
    case .list(let values): .array(values.map(JSONValue.real))
    case .schedule(let schedule): schedule.object()
    }
  }
}
