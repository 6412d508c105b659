import { AppError, type Clock } from "@moiety/core";

/** A reason that costs nothing: an error of its own would be made, stack and all, for each wait that ended well. */
const ANSWERED = "answered";

/**
 * Waits for Redis for so long and no longer.
 * @throws AppError UNAVAILABLE when it did not answer or cannot take commands now, INTERNAL for a command that it finds wrong, or
 * whatever else the work threw.
 */
export async function patiently<T>(
  work: Promise<T>,
  options: { readonly clock: Clock; readonly patienceMs: number },
): Promise<T> {
  work.catch(() => undefined);
  const patience = new AbortController();
  const timeout = options.clock.sleep(options.patienceMs, patience.signal).then(() => {
    throw new AppError("UNAVAILABLE", "redis does not answer", { details: { waitedMs: options.patienceMs } });
  });
  try {
    return await Promise.race([work, timeout]);
  } catch (error) {
    throw error instanceof Error && error.name === "ReplyError" ? asRefusal(error) : AppError.from(error, "UNAVAILABLE");
  } finally {
    timeout.catch(() => undefined);
    patience.abort(ANSWERED);
  }
}

/** What Redis says of a command stays in the cause: it names keys and scripts. */
function asRefusal(cause: Error): AppError {
  const wrong = /^(ERR|WRONGTYPE) /.test(cause.message);
  return new AppError(wrong ? "INTERNAL" : "UNAVAILABLE", "redis refuses a command", { cause });
}
