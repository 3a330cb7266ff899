/** Why an operation is not done: the kind of refusal, the rule, and who could do it. */

export type RefusalKind =
  /** The actor may not (ADM-*). */
  | 'permission_denied'
  /** The facts forbid it, whoever asks. */
  | 'failed_precondition'
  | 'invalid_argument'
  | 'not_found'
  | 'already_exists'
  /** The tenant is not at the revision that was expected. */
  | 'aborted'
  | 'unauthenticated'
  /** What must be recorded cannot be, for now. */
  | 'unavailable';

/** A name, and the kinds of which it may have been. */
export interface Sought {
  readonly kinds: readonly ('user' | 'role' | 'workspace' | 'policy_set')[];
  readonly id: string;
}

/** Thrown by management; nothing has been written when it is, but where its message says so. */
export class Refused extends Error {
  readonly kind: RefusalKind;
  /** The rule of semantics.md that refuses, or `''`. */
  readonly rule: string;
  /** The field that is wrong, or `''`. */
  readonly field: string;

  /** What was looked for and is not there; `undefined`: nothing by its name. */
  sought: Sought | undefined;

  constructor(kind: RefusalKind, message: string, rule = '', field = '') {
    super(rule === '' ? message : `${message} (${rule})`);
    this.name = 'Refused';
    this.kind = kind;
    this.rule = rule;
    this.field = field;
  }
}

/** @param who could do it instead */
export function denied(rule: string, message: string, who: string): Refused {
  return new Refused('permission_denied', `${message}: ${who} could`, rule);
}

export function forbidden(rule: string, message: string): Refused {
  return new Refused('failed_precondition', message, rule);
}

export function invalid(field: string, message: string): Refused {
  return new Refused('invalid_argument', `${field}: ${message}`, '', field);
}

/** @param sought for a near name, where the actor may know of it */
export function notFound(message: string, sought?: Sought): Refused {
  const refusal = new Refused('not_found', message);
  refusal.sought = sought;
  return refusal;
}

export function alreadyExists(message: string, rule = ''): Refused {
  return new Refused('already_exists', message, rule);
}
