@_spi(Command) import DynaMoE

extension Evaluation {
  var words: String {
    var parts: [String] = []
    if let accuracy { parts.append("accuracy \(percent(accuracy))") }
    if let r2 { parts.append("R² \(fixed(r2, 4))") }
    parts.append("loss \(fixed(loss, 4))")
    if let perplexity { parts.append("perplexity \(fixed(perplexity, 1))") }
    parts.append("mean K " + meanActive.map { fixed($0, 2) }.joined(separator: " "))
    return parts.joined(separator: ", ")
  }

  var value: JSONValue {
    var members: [(String, JSONValue)] = [("rows", .integer(countedRows)), ("loss", .real(loss))]
    if let accuracy { members.append(("accuracy", .real(accuracy))) }
    if let r2 { members.append(("r2", .real(r2))) }
    if let perplexity { members.append(("perplexity", .real(perplexity))) }
    members.append(("mean_k", .reals(meanActive)))
    return .of(members)
  }
}
