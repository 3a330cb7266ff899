/** AuthorizationService at its limits: the largest message, the most checks, objects, attributes, values, facts. */
import type { Answer, TestClient } from '../../test/support/server.ts';
import type { LimitCall, Runs } from './limit-call.ts';
import { TENANT } from './world.ts';

const value = (text: string): object => ({ stringValue: text });
const list = (count: number, of: (at: number) => object): object => ({
  listValue: { values: Array.from({ length: count }, (_, at) => of(at)) },
});
const short = (at: number): object => ({ boolValue: at % 2 === 0 });
const attributes = (keys: number, values: number): Record<string, object> =>
  Object.fromEntries(Array.from({ length: keys }, (_, at) => [`k${at}`, list(values, short)]));

/** Sources that differ, so that their union is as large as it can be. */
const sources = (count: number, values: number): object[] =>
  Array.from({ length: count }, (_, source) => ({
    attributes: { tag: list(values, (at) => value(`a${source}-${at}`)) },
  }));

const alice = { tenant: TENANT, subject: { id: 'alice' } };
const ruled = { tenant: TENANT, key_id: 'ruled', action: 'doc:read' };
const manyOf = <T>(count: number, of: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => of(at));

function unary(
  rpc: string,
  what: string,
  request: () => object,
  isRight: (answer: Answer) => boolean,
): LimitCall {
  return {
    rpc,
    what,
    prepare(client: TestClient): Promise<Runs> {
      const message = request();
      return Promise.resolve({
        async run(): Promise<void> {
          const answer = await client.call(rpc, message, 120_000);
          if (!isRight(answer))
            throw new Error(`${rpc}, ${what}: ${JSON.stringify(answer).slice(0, 500)}`);
        },
      });
    },
  };
}

const denied = (answer: Answer): boolean => answer['allowed'] === false;
const answersAll = (answer: Answer): boolean => (answer['results'] as unknown[]).length === 1_000;
const hasNone = (answer: Answer): boolean => (answer['allowed_ids'] as unknown[]).length === 0;

export function authorizationCalls(): LimitCall[] {
  const fullResource = { attributes: attributes(64, 256) };
  return [
    unary(
      'Check',
      'a user with 20,000 grants',
      () => ({
        tenant: TENANT,
        subject: { id: 'holder' },
        action: 'read',
        resource: { path: 'h' },
      }),
      denied,
    ),
    unary(
      'Check',
      '64 attributes of 256 values',
      () => ({ ...alice, action: 'read', resource: fullResource }),
      denied,
    ),
    unary(
      'Check',
      '4,000 rules on the action, 256 sources of 64 values',
      () => ({ ...ruled, resource: { sources: sources(256, 64) } }),
      denied,
    ),
    unary(
      'BatchCheck',
      '1,000 checks that share 16 sources of 256 values, 4,000 rules',
      () => ({
        ...ruled,
        resource: { sources: sources(16, 256) },
        checks: manyOf(1_000, () => ({})),
      }),
      answersAll,
    ),
    unary(
      'BatchCheck',
      '1,000 checks that share 256 sources of 64 values, in order',
      () => ({
        ...ruled,
        semantic: 3,
        resource: { sources: sources(256, 64) },
        checks: manyOf(1_000, () => ({})),
      }),
      answersAll,
    ),
    unary(
      'BatchCheck',
      '1,000 checks of 4 attributes of 200 values each, 4 MiB',
      () => ({
        ...alice,
        action: 'read',
        checks: manyOf(1_000, () => ({ resource: { attributes: attributes(4, 200) } })),
      }),
      answersAll,
    ),
    unary(
      'BatchCheck',
      '1,000 checks that are malformed',
      () => ({
        ...alice,
        action: 'read',
        checks: manyOf(1_000, () => ({ resource: { path: '.' } })),
      }),
      answersAll,
    ),
    unary(
      'Filter',
      '10,000 objects of 64 attributes, 4 MiB',
      () => ({
        ...alice,
        action: 'read',
        objects: manyOf(10_000, (at) => ({ id: `o${at}`, attributes: attributes(8, 5) })),
      }),
      hasNone,
    ),
    unary(
      'Filter',
      '60 objects of 64 attributes of 256 values, 4 MiB',
      () => ({
        ...alice,
        action: 'read',
        objects: manyOf(60, (at) => ({ id: `o${at}`, ...fullResource })),
      }),
      hasNone,
    ),
    unary(
      'Filter',
      '10,000 objects, 4,000 rules on the action',
      () => ({
        ...ruled,
        objects: manyOf(10_000, (at) => ({
          id: `o${at}`,
          attributes: { tag: list(2, (n) => value(`${n}-${at}`)) },
        })),
      }),
      hasNone,
    ),
    unary(
      'Filter',
      '60 objects of 16 sources of 256 values, 4,000 rules',
      () => ({
        ...ruled,
        objects: manyOf(60, (at) => ({ id: `o${at}`, sources: sources(16, 256) })),
      }),
      hasNone,
    ),
    unary(
      'Filter',
      '10,000 objects that are malformed',
      () => ({ ...alice, action: 'read', objects: manyOf(10_000, () => ({ path: '.' })) }),
      (answer) => (answer['invalid'] as unknown[]).length === 10_000,
    ),
    unary(
      'Explain',
      'a user with 20,000 grants among 5,000 roles',
      () => ({
        tenant: TENANT,
        subject: { id: 'holder' },
        action: 'read',
        resource: { path: 'h' },
      }),
      (answer) => answer['missing_complete'] === true,
    ),
    unary(
      'Explain',
      '4,000 rules on the action, 256 sources of 64 values',
      () => ({ ...ruled, resource: { sources: sources(256, 64) } }),
      (answer) => (answer['layers'] as unknown[]).length > 2,
    ),
    unary(
      'Explain',
      '4,000 constrained rules, each tried as missing',
      () => ({ ...ruled, resource: { attributes: attributes(64, 16) } }),
      (answer) => (answer['layers'] as unknown[]).length > 2,
    ),
    checkStream(),
  ];
}

/** Those that record the most, where records are redacted. */
export function redactedCalls(): LimitCall[] {
  const recorded = new Set(['Check', 'BatchCheck', 'Filter', 'CheckStream']);
  return authorizationCalls()
    .filter(({ rpc, what }) => recorded.has(rpc) && !what.includes('malformed'))
    .map((call) => ({ ...call, what: `${call.what}; redacted`, server: 'redacted' }));
}

/** 256 messages at once, each as large as a resource may be here. */
function checkStream(): LimitCall {
  const messages = 256;
  return {
    rpc: 'CheckStream',
    what: '256 messages at once of 16 sources of 256 values, 4,000 rules',
    prepare(client): Promise<Runs> {
      const resource = { sources: sources(16, 256) };
      const run = async (): Promise<void> => {
        const stream = client.stream();
        let answers = 0;
        const ended = new Promise<void>((done, failed) => {
          stream.on('data', () => answers++);
          stream.on('end', () => done());
          stream.on('error', failed);
        });
        for (let at = 0; at < messages; at++) stream.write({ ...ruled, id: String(at), resource });
        stream.end();
        await ended;
        if (answers !== messages) throw new Error(`CheckStream: ${answers} answers`);
      };
      return Promise.resolve({ run });
    },
  };
}
