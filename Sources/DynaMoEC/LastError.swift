import CDynaMoE
import Glibc

@_cdecl("dynamoe_last_error")
public func lastError() -> UnsafePointer<CChar>? {
  ThreadTexts.current?.error.pointer ?? emptyText
}

/// A NUL-terminated text that C reads after the call that stored it has returned.
struct OwnedText {
  private var storage: UnsafeMutablePointer<CChar>?
  private var isStored = false

  /// The latest text, or a static one where there was no memory for it.
  var pointer: UnsafePointer<CChar> {
    guard isStored else { return emptyText }
    return storage.map { UnsafePointer($0) } ?? outOfMemoryText
  }

  mutating func store(_ text: String) {
    let copy = text.withCString { strdup($0) }
    free(storage)
    storage = copy
    isStored = true
  }

  mutating func release() {
    free(storage)
    storage = nil
    isStored = false
  }
}

/// The texts that C may hold on to, one set per thread, without Foundation's thread dictionaries.
struct ThreadTexts {
  var error = OwnedText()
  var buildInfo = OwnedText()

  /// Nil only when the system has neither a key nor memory left for this thread.
  static var current: UnsafeMutablePointer<ThreadTexts>? {
    guard let key else { return nil }
    if let texts = pthread_getspecific(key) {
      return texts.assumingMemoryBound(to: ThreadTexts.self)
    }
    guard let memory = malloc(MemoryLayout<ThreadTexts>.stride) else { return nil }
    let texts = memory.bindMemory(to: ThreadTexts.self, capacity: 1)
    texts.initialize(to: ThreadTexts())
    guard pthread_setspecific(key, memory) == 0 else {
      free(memory)
      return nil
    }
    return texts
  }

  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    let created = pthread_key_create(&key) { memory in
      guard let memory else { return }
      let texts = memory.assumingMemoryBound(to: ThreadTexts.self)
      texts.pointee.error.release()
      texts.pointee.buildInfo.release()
      free(memory)
    }
    return created == 0 ? key : nil
  }()
}

extension UnsafeMutablePointer<ThreadTexts> {
  var error: OwnedText {
    get { pointee.error }
    nonmutating set { pointee.error = newValue }
  }

  var buildInfo: OwnedText {
    get { pointee.buildInfo }
    nonmutating set { pointee.buildInfo = newValue }
  }
}

/// A string of the program itself: valid as long as the library is.
func staticText(_ text: StaticString) -> UnsafePointer<CChar> {
  UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

private var emptyText: UnsafePointer<CChar> { staticText("") }

private var outOfMemoryText: UnsafePointer<CChar> {
  staticText("no memory was left for the message of this failure")
}
