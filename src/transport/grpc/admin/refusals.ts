/** Refusals and faults of management as gRPC errors: the one table from their kinds to codes. */
import { IdempotencyError } from '../../../admin/receipt.ts';
import { Refused, type RefusalKind } from '../../../admin/refused.ts';
import {
  StoreError,
  UnknownOutcomeError,
  UnreadableError,
  VersionError,
} from '../../../store/store.ts';
import type { JudgeCaller } from '../callers.ts';
import { badRequest, CODE, RpcError, withReason } from '../status.ts';

const CODES: Readonly<Record<RefusalKind, number>> = {
  permission_denied: CODE.PERMISSION_DENIED,
  failed_precondition: CODE.FAILED_PRECONDITION,
  invalid_argument: CODE.INVALID_ARGUMENT,
  not_found: CODE.NOT_FOUND,
  already_exists: CODE.ALREADY_EXISTS,
  aborted: CODE.ABORTED,
  unauthenticated: CODE.UNAUTHENTICATED,
  unavailable: CODE.UNAVAILABLE,
};

/** An error of management as an RpcError; one that is not foreseen stays what it is. */
export function asRpcError(error: unknown): unknown {
  if (error instanceof Refused) {
    if (error.field !== '')
      return badRequest(error.field, error.message.slice(error.field.length + 2));
    return withReason(CODES[error.kind], error.rule || error.kind.toUpperCase(), error.message);
  }
  if (error instanceof IdempotencyError)
    return withReason(CODE.INVALID_ARGUMENT, 'IDEMPOTENCY_KEY', error.message);
  if (error instanceof UnknownOutcomeError)
    return withReason(
      CODE.UNKNOWN,
      'UNKNOWN_OUTCOME',
      `${error.message}: send it again with the same idempotency_key, or look first`,
    );
  // No waiting mends it, but an upgrade.
  if (error instanceof VersionError || (error instanceof UnreadableError && error.needs))
    return withReason(CODE.UNAVAILABLE, 'VERSION', error.message);
  if (error instanceof UnreadableError)
    return withReason(CODE.FAILED_PRECONDITION, 'UNREADABLE', error.message);
  if (error instanceof StoreError)
    return withReason(CODE.UNAVAILABLE, 'UNAVAILABLE', error.message);
  return error;
}

/** Paths of this service's methods begin so. */
export const ADMIN_PATHS = '/postern.v1.AdminService/';

/**
 * Judges callers by their headers, before their messages are read.
 * @param admit rejects as `authenticate` does
 */
export function judgeAdmin(
  admit: (authorization: string) => Promise<void>,
  onError: (error: unknown) => void,
): JudgeCaller {
  return (authorization) =>
    admit(authorization).then(
      () => undefined,
      (error: unknown) => {
        const known = asRpcError(error);
        if (known instanceof RpcError) return known;
        onError(error);
        return new RpcError(CODE.INTERNAL, 'internal error: see the log');
      },
    );
}
