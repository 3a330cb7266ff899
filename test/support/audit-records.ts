/** Audit records as servers make them: by the same functions, numbered and sealed. */
import { openChain } from '../../src/audit/seals/chain.ts';
import { contentOf, eventOf, type DecisionContent } from '../../src/audit/record/event.ts';
import {
  authenticationLine,
  managementLine,
  type ManagementContent,
} from '../../src/audit/record/management-record.ts';
import { openLog } from '../../src/audit/log.ts';
import type { Resource } from '../../src/engine/model.ts';
import { collectingSink } from './audit.ts';

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
      const { id, ...event } = next(fields.time);
      const { requestId = '', api = 'check' } = fields;
      const head = { ...event, decisionId: id, requestId, api, revision: 7, durationUs: 12 };
      return `${eventOf({ ...head, sampleRate: 1 })}${decided(fields)}`;
    },
    management(fields = {}): string {
      return seal(managementLine(managed(fields), next(fields.time), undefined));
    },
    authentication: (why) => authenticationLine({ tenant: 'acme', why }, next(), undefined),
  };
}

/** The part of a decision's record that its question and answer give. */
function decided(fields: Decided): string {
  const { subject = 'alice', tenant = 'acme', action = 'kb:read', resource, keyId } = fields;
  const { requestId: _requestId, api: _api, time: _time, ...content } = fields;
  return contentOf({
    context: undefined,
    outcome: ALLOWED,
    shadow: undefined,
    mode: undefined,
    objects: undefined,
    redact: undefined,
    ...content,
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
  });
}

function managed(fields: Partial<ManagementContent>): ManagementContent {
  return {
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
}

/** A mixed log: of ten records one is of management. */
export function mixed(recorder: Recorder, count: number): string[] {
  return Array.from({ length: count }, (_, at) =>
    at % 10 === 9
      ? recorder.management({ operation: `op.${at}` })
      : recorder.decision({ subject: `user-${at % 100}` }),
  );
}

/** A log as a server seals it: records of the given kinds through a real log, with a seal after every `every` of them. */
export async function sealedLog(
  instance: string,
  count: number,
  { key, every = 10, end = true }: { key?: Buffer; every?: number; end?: boolean } = {},
): Promise<string[]> {
  const lines: string[] = [];
  const log = openLog(instance, [collectingSink(lines)], 1, { key, records: every, ms: 60_000 });
  const chain = openChain(key);
  for (let at = 0; at < count; at++)
    void log.write((seq, salt) => {
      const event = { seq, salt, instance, time: new Date().toISOString() };
      const id = `${instance}-${seq.toString(36)}`;
      return at % 10 === 9
        ? chain(
            managementLine(
              managed({ operation: `op.${at}` }),
              { ...event, salt: undefined, id },
              undefined,
            ),
          )
        : `${eventOf({ ...event, decisionId: id, requestId: '', api: 'check', revision: 7, durationUs: 12, sampleRate: 1 })}${decided({ subject: `user-${at}` })}`;
    });
  if (end) await log.close(1);
  return lines;
}
