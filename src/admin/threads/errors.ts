/** Errors on their way from a thread: sent with their kind, so that they are thrown again as what they were. */
import { IdempotencyError } from '../receipt.ts';
import { Refused } from '../refused.ts';
import { StoreError, UnknownOutcomeError, VersionError } from '../../store/store.ts';

export type ErrorData =
  | Pick<Refused, 'kind' | 'message' | 'rule' | 'field'>
  | { readonly kind: 'idempotency' | 'store' | 'other'; readonly message: string }
  | { readonly kind: 'version'; readonly message: string; readonly needs: number }
  | {
      readonly kind: 'unknown_outcome';
      readonly message: string;
      readonly what: UnknownOutcomeError['what'];
    };

export function errorData(error: unknown): ErrorData {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Refused) {
    const { kind, rule, field } = error;
    return { kind, message, rule, field };
  }
  if (error instanceof IdempotencyError) return { kind: 'idempotency', message };
  if (error instanceof UnknownOutcomeError)
    return { kind: 'unknown_outcome', message, what: error.what };
  if (error instanceof VersionError) return { kind: 'version', message, needs: error.needs };
  if (error instanceof StoreError) return { kind: 'store', message: withCause(error) };
  return { kind: 'other', message: error instanceof Error ? (error.stack ?? message) : message };
}

function withCause({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}

export function errorOf(data: ErrorData): Error {
  const { message } = data;
  // The message of a refusal has its rule already.
  if ('rule' in data)
    return withMessage(new Refused(data.kind, '', data.rule, data.field), message);
  switch (data.kind) {
    case 'idempotency':
      return new IdempotencyError(message);
    case 'store':
      return new StoreError(message);
    case 'other':
      return new Error(message);
    case 'version':
      return withMessage(new VersionError('', data.needs), message);
    case 'unknown_outcome':
      return withMessage(new UnknownOutcomeError('', data.what), message);
  }
}

/** Errors of ours make their messages of parts; this one is made already. */
function withMessage<E extends Error>(error: E, message: string): E {
  error.message = message;
  return error;
}
