/// Why a call was refused or could not be completed.
///
/// The associated text is one clear sentence: it names the culprit (an argument, a configuration
/// key, a file), what came and what is allowed. Unless a function says otherwise, a call that
/// throws has changed nothing.
public enum DynaMoEError: Error, Equatable, Sendable {
  /// An argument, a shape, a value or the configuration.
  case argument(String)
  /// Calls out of order, such as `backward` before a training forward.
  case state(String)
  /// Not enough memory.
  case memory(String)
  /// The operating system refused a file.
  case file(String)
  /// A file that is truncated, damaged or not ours.
  case format(String)
  /// Another thread is at work: in the session, or on the model that it evaluates.
  case busy(String)
  /// Arithmetic left the finite numbers.
  case failed(String)
  /// The chosen kernels are absent on this machine.
  case backend(String)
}

extension DynaMoEError: CustomStringConvertible {
  /// The message.
  public var description: String {
    switch self {
    case .argument(let message), .state(let message), .memory(let message), .file(let message),
      .format(let message), .busy(let message), .failed(let message), .backend(let message):
      message
    }
  }
}
