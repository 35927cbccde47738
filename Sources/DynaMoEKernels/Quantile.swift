/// Quantile `q` of `n` values, linear between neighbours, by selection in O(n).
///
/// Position p = q·(n-1) in f64, taken as whole within 1e-9 of a whole number, between the sorted
/// neighbours a and b: a + fraction·(b - a) in f64, as `numpy.quantile` with its default method.
///
/// - Parameters:
///   - values: [n], left as they are.
///   - n: at least 1; 0 gives 0.
///   - q: in 0 ... 1; what lies outside counts as the nearer end, NaN as 0.
///   - scratch: room for `n` values, overwritten.
/// - Returns: the quantile; unspecified if a value is NaN.
public func quantile(
  _ values: UnsafePointer<Float>, _ n: Int, _ q: Double, scratch: UnsafeMutablePointer<Float>
) -> Double {
  guard n > 0 else { return 0 }
  scratch.update(from: values, count: n)
  let position = min(max(0, q), 1) * Double(n - 1)
  let whole = position.rounded()
  // The comparison is false for NaN, whose conversion to Int would trap.
  let isWhole = abs(position - whole) <= 1e-9
  let lower = position >= 0 ? Int(isWhole ? whole : position.rounded(.down)) : 0
  let a = select(scratch, n, rank: lower)
  guard !isWhole, lower + 1 < n else { return Double(a) }
  // Selection leaves the larger values behind the chosen rank.
  var b = scratch[lower + 1]
  for i in (lower + 1)..<n where scratch[i] < b { b = scratch[i] }
  return Double(a) + (position - Double(lower)) * (Double(b) - Double(a))
}

/// Value of the given rank; afterwards no value before `rank` is larger and none behind it smaller.
///
/// Quickselect with the median of three and three-way partition; after many bad splits heap
/// selection bounds the worst case at O(n log n).
private func select(_ x: UnsafeMutablePointer<Float>, _ n: Int, rank: Int) -> Float {
  var low = 0
  var high = n
  var budget = 2 * (Int.bitWidth - n.leadingZeroBitCount) + 8
  while high - low > 16 {
    guard budget > 0 else {
      heapSort(x + low, high - low)
      return x[rank]
    }
    budget -= 1
    let pivot = medianOfThree(x[low], x[low + (high - low) / 2], x[high - 1])
    let (less, greater) = partition(x, low, high, around: pivot)
    if rank < less {
      high = less
    } else if rank >= greater {
      low = greater
    } else {
      return pivot
    }
  }
  insertionSort(x + low, high - low)
  return x[rank]
}

private func medianOfThree(_ a: Float, _ b: Float, _ c: Float) -> Float {
  max(min(a, b), min(max(a, b), c))
}

/// Orders low ..< high into [< pivot | neither | > pivot]; returns where the middle begins and
/// ends.
private func partition(
  _ x: UnsafeMutablePointer<Float>, _ low: Int, _ high: Int, around pivot: Float
) -> (less: Int, greater: Int) {
  var less = low
  var i = low
  var greater = high
  while i < greater {
    let value = x[i]
    if value < pivot {
      x[i] = x[less]
      x[less] = value
      less += 1
      i += 1
    } else if value > pivot {
      greater -= 1
      x[i] = x[greater]
      x[greater] = value
    } else {
      i += 1
    }
  }
  return (less, greater)
}

private func insertionSort(_ x: UnsafeMutablePointer<Float>, _ n: Int) {
  var i = 1
  while i < n {
    let value = x[i]
    var j = i
    while j > 0, x[j - 1] > value {
      x[j] = x[j - 1]
      j -= 1
    }
    x[j] = value
    i += 1
  }
}

/// Sorts in descending order, in place; where NaN ends up is unspecified.
public func sortDescending(_ x: UnsafeMutablePointer<Float>, _ n: Int) {
  guard n > 1 else { return }
  heapSort(x, n)
  for i in 0..<n / 2 { (x[i], x[n - 1 - i]) = (x[n - 1 - i], x[i]) }
}

private func heapSort(_ x: UnsafeMutablePointer<Float>, _ n: Int) {
  func siftDown(_ start: Int, _ end: Int) {
    var root = start
    while 2 * root + 1 < end {
      var child = 2 * root + 1
      if child + 1 < end, x[child] < x[child + 1] { child += 1 }
      guard x[root] < x[child] else { return }
      (x[root], x[child]) = (x[child], x[root])
      root = child
    }
  }
  for start in stride(from: n / 2 - 1, through: 0, by: -1) { siftDown(start, n) }
  for end in stride(from: n - 1, to: 0, by: -1) {
    (x[0], x[end]) = (x[end], x[0])
    siftDown(0, end)
  }
}
