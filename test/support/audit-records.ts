/** Audit records as servers make them: by the same functions, numbered and sealed. */
import { openChain } from '../../src/audit/chain.ts';
import { contentOf, eventOf, type DecisionContent } from '../../src/audit/event.ts';
import {
  authenticationLine,
  managementLine,
  type ManagementContent,
} from '../../src/audit/management.ts';
import type { Resource } from '../../src/engine/model.ts';

export interface Recorder {
  decision(fields?: Decided): string;
  management(fields?: Partial<ManagementContent> & { readonly time?: Date }): string;
  authentication(why: string): string;
}

export interface Decided extends Partial<Omit<DecisionContent, 'request' | 'subject'>> {
  /** The id of a user. */
  readonly subject?: string;
  readonly tenant?: string;
  readonly keyId?: string;
  readonly action?: string;
  readonly resource?: Partial<Resource>;
  readonly requestId?: string;
  readonly api?: 'check' | 'filter';
  readonly time?: Date;
}

const ALLOWED = { reason: 'ALLOWED', actionRule: undefined, objectRule: undefined } as const;
export const DENIED = { ...ALLOWED, reason: 'NO_GRANT' } as const;

/** What one server process records. @param key of its chain */
export function openRecorder(instance = '0123456789ab', key?: Buffer): Recorder {
  const seal = openChain(key);
  let seq = 0;
  const next = (time = new Date()) => {
    seq++;
    return { seq, instance, id: `${instance}-${seq.toString(36)}`, time: time.toISOString() };
  };
  return {
    decision(fields = {}): string {
      const { subject = 'alice', tenant = 'acme', action = 'kb:read', resource, keyId } = fields;
      const { id, ...event } = next(fields.time);
      const { requestId = '', api = 'check' } = fields;
      const head = { ...event, decisionId: id, requestId, api, revision: 7, durationUs: 12 };
      return `${eventOf({ ...head, sampleRate: 1 })}${contentOf({
        context: undefined,
        outcome: ALLOWED,
        shadow: undefined,
        mode: undefined,
        objects: undefined,
        redact: undefined,
        ...fields,
        subject: { type: 'user', id: subject },
        request: {
          tenant,
          action,
          keyId,
          subject: { type: 'user', id: subject },
          resource: {
            type: 'kb',
            id: 'kb1',
            path: 'work.kb',
            attributes: new Map(),
            sources: [],
            ...resource,
          },
        },
      })}`;
    },
    management(fields = {}): string {
      const content = {
        tenant: 'acme',
        actor: 'operator',
        via: 'admin token',
        keyId: undefined,
        operation: 'user.create',
        requestId: '',
        revision: 8,
        dryRun: false,
        repeated: false,
        refused: undefined,
        changes: [],
        ...fields,
      };
      return seal(managementLine(content, next(fields.time), undefined));
    },
    authentication: (why) => authenticationLine({ tenant: 'acme', why }, next(), undefined),
  };
}

/** A mixed log: of ten records one is of management. */
export function mixed(recorder: Recorder, count: number): string[] {
  return Array.from({ length: count }, (_, at) =>
    at % 10 === 9
      ? recorder.management({ operation: `op.${at}` })
      : recorder.decision({ subject: `user-${at % 100}` }),
  );
}
