/** Records of management and authentication: who changed what, or was refused, without any secret (ADM-7). Pure. */
import type { CredentialProblem } from '../../engine/credential-problem.ts';
import { AUDIT_VERSION } from '../fields.ts';
import type { Redact } from './redact.ts';
import { stringify } from './json.ts';
import { withoutTokens } from '../../util/tokens.ts';

/** What only one record tells. */
export interface RecordEvent {
  readonly time: string;
  readonly instance: string;
  readonly seq: number;
  /** Random; it goes where the record is erased (`seal.ts`). Absent: none, as where a chain adds it. */
  readonly salt?: string | undefined;
  /** Unique, as that of a decision is. */
  readonly id: string;
}

/** What is known of an operation. Values are records as they are stored. */
export interface ManagementContent {
  readonly tenant: string;
  /** `user:alice` or `operator`. */
  readonly actor: string;
  /** How the actor was known, for example `session s1`. */
  readonly via: string;
  readonly keyId: string | undefined;
  readonly operation: string;
  readonly requestId: string;
  readonly revision: number;
  readonly dryRun: boolean;
  readonly repeated: boolean;
  readonly refused:
    { readonly kind: string; readonly rule: string; readonly message: string } | undefined;
  /** Changes that are not listed. */
  readonly moreChanges?: number;
  /** Records that were removed with a tenant, by kind (ADM-9). */
  readonly removed?: ReadonlyMap<string, number>;
  readonly changes: readonly {
    readonly kind: string;
    readonly id: string;
    readonly before: unknown;
    readonly after: unknown;
  }[];
}

/** Fields that prove a credential: only their number is recorded. */
const SECRET_FIELDS = new Set(['secrets', 'sessions']);
/** Changes of one operation that are written out; a whole state applied may have a million. */
const MAX_CHANGES = 100;

/** The record as one JSON object's text, to be sealed. */
export function managementLine(
  content: ManagementContent,
  event: RecordEvent,
  redact: Redact | undefined,
): string {
  const { refused, changes } = content;
  const listed = changes.slice(0, MAX_CHANGES);
  const more = changes.length - listed.length + (content.moreChanges ?? 0);
  const requestId = redact?.requestId(content.requestId) ?? content.requestId;
  const record = {
    ...headOf('management', event),
    ...(requestId === '' ? {} : { request_id: requestId }),
    tenant: content.tenant,
    revision: content.revision,
    actor: content.actor,
    via: content.via,
    ...(content.keyId === undefined ? {} : { key_id: content.keyId }),
    operation: content.operation,
    ...(content.dryRun ? { dry_run: true } : {}),
    ...(content.repeated ? { repeated: true } : {}),
    allowed: refused === undefined,
    ...(refused === undefined
      ? {}
      : { reason: refused.kind.toUpperCase(), rule: refused.rule, detail: refused.message }),
    before: listed.map(({ kind, id, before }) => ({ kind, id, value: withoutSecrets(before) })),
    after: listed.map(({ kind, id, after }) => ({ kind, id, value: withoutSecrets(after) })),
    ...(more > 0 ? { more_changes: more } : {}),
    ...(content.removed === undefined ? {} : { removed: Object.fromEntries(content.removed) }),
  };
  return withoutTokens(stringify(redact?.record(record) ?? record));
}

function headOf(type: string, { time, instance, seq, salt, id }: RecordEvent): object {
  const salted = salt === undefined ? {} : { salt };
  return { v: AUDIT_VERSION, type, time, instance, seq, ...salted, decision_id: id };
}

function withoutSecrets(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return null;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]: [string, unknown]) =>
      SECRET_FIELDS.has(name) && Array.isArray(field) ? [name, field.length] : [name, field],
    ),
  );
}

/** A credential that was refused: nothing of the credential itself is recorded. */
export function authenticationLine(
  content: {
    readonly tenant: string;
    readonly why: string;
    readonly problem?: CredentialProblem | undefined;
    /** So many that are alike; absent: one. */
    readonly count?: number | undefined;
  },
  event: RecordEvent,
  redact: Redact | undefined,
): string {
  const record = {
    ...headOf('authentication', event),
    tenant: content.tenant,
    allowed: false,
    reason: 'UNAUTHENTICATED',
    ...(content.problem === undefined ? {} : { credential_problem: content.problem }),
    detail: content.why,
    ...((content.count ?? 1) > 1 ? { count: content.count } : {}),
  };
  return withoutTokens(stringify(redact?.record(record) ?? record));
}
