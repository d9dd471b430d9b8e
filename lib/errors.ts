/** An error that a person can mend: carries what to do beside what went wrong. */
export class UserError extends Error {
  override readonly name: string = "UserError";
  /** What to do about it, as one sentence without a full stop. */
  readonly hint?: string;

  constructor(message: string, options: ErrorOptions & { hint?: string } = {}) {
    super(message, options);
    if (options.hint !== undefined) this.hint = options.hint;
  }
}

/** A setting has a value that cannot be used. */
export class SettingError extends UserError {
  override readonly name = "SettingError";
}

/** Another agent holds the lock on the same cache. */
export class AlreadyRunningError extends UserError {
  override readonly name = "AlreadyRunningError";
}

/** What is wrong with the cache, by what can be done about it. */
export type StoreFault =
  /** The disk has no room: what is in the cache stays, and writing goes on when there is room again. */
  | "full"
  /** The disk fails to read or write; one that is full may say so as well. */
  | "disk"
  /** Another program holds the file. */
  | "locked"
  /** It has come to a limit that the settings have. */
  | "limit"
  /** The file is damaged: it is put aside and made anew. */
  | "corrupt"
  /** It cannot be opened, read or written for another reason. */
  | "other";

/** The cache cannot be opened, read or written. */
export class StoreError extends UserError {
  override readonly name = "StoreError";
  readonly fault: StoreFault;

  constructor(message: string, options: ErrorOptions & { hint?: string; fault?: StoreFault } = {}) {
    super(message, options);
    this.fault = options.fault ?? "other";
  }
}

/** The cache is encrypted and its key is missing, wrong, or not safe to use. Nothing is lost by it. */
export class KeyError extends UserError {
  override readonly name = "KeyError";
}

/** One sealed value of the cache cannot be opened: it was changed, moved, or sealed by another key. */
export class SealError extends Error {
  override readonly name = "SealError";
}

/** The source is down, slow, or answers what cannot be understood. Nothing is lost: it is read again later. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  /** The HTTP status, where there was one. */
  readonly status?: number;

  constructor(message: string, options: ErrorOptions & { status?: number } = {}) {
    super(message, options);
    if (options.status !== undefined) this.status = options.status;
  }
}
