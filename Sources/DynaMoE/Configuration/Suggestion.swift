/// The candidate that `word` most likely meant, nil when none is near.
func nearest(to word: String, among candidates: [String]) -> String? {
  // The distance costs the product of the lengths: a document may hold words of any length.
  guard word.utf8.count <= 64 else { return nil }
  let limit = 1 + word.utf8.count / 4
  var best: (candidate: String, distance: Int)?
  for candidate in candidates {
    let distance = editDistance(Array(word.lowercased().utf8), Array(candidate.utf8))
    if distance <= limit && distance < candidate.utf8.count && distance < best?.distance ?? .max {
      best = (candidate, distance)
    }
  }
  return best?.candidate
}

/// Insertions, deletions, replacements and swaps of neighbours from `a` to `b` (optimal string
/// alignment; Damerau, CACM 7, 1964).
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var beforePrevious: [Int] = []
  var previous = Array(0...b.count)
  for i in 0..<a.count {
    var row = [i + 1]
    row.reserveCapacity(b.count + 1)
    for j in 0..<b.count {
      var distance = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
      if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
        distance = min(distance, beforePrevious[j - 1] + 1)
      }
      row.append(distance)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.count]
}
