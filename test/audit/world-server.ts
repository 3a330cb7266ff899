/** Real servers of random worlds that write real audit logs, and questions to them by every way there is. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { Request, Resource } from '../../src/engine/model.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { Writer } from '../../src/transport/codec/wire.ts';
import type { World } from '../oracle/oracle.ts';
import { stateOf } from '../oracle/translate.ts';
import { checkRequest, filterRequest, readMessage } from '../support/messages.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

/** Settings of a log in a file, inputs of requests included. */
export function fileLog(path: string): object {
  return { sinks: [{ type: 'file', path }], attributes: true };
}

export interface WorldServer {
  readonly log: string;
  /** Settings that name the same catalog and store. */
  readonly config: string;
  readonly server: TestServer;
}

/** Puts a world's state into a store and serves it. */
export async function serveWorld(directory: string, world: World): Promise<WorldServer> {
  mkdirSync(directory, { recursive: true });
  const catalog = join(directory, 'actions.yaml');
  writeFileSync(catalog, JSON.stringify(world.catalog));
  const store = openEmbeddedStore(join(directory, 'store'));
  await applyState(store, stateOf(world), [], 'test');
  await store.close();
  const log = join(directory, 'audit.jsonl');
  const files = {
    catalog,
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    store: `embedded:${join(directory, 'store')}`,
  };
  const config = join(directory, 'postern.yaml');
  writeFileSync(config, JSON.stringify({ ...files, audit: fileLog(log) }));
  const server = await startTestServer({ tenant: 'elsewhere' }, { ...files, audit: fileLog(log) });
  return { log, config, server };
}

/** What a server answered. */
export interface Answered {
  readonly reason: string;
  readonly decisionId: string;
  /** Indexes of a Filter's objects. */
  readonly visible?: readonly number[];
}

export interface FilterQuestion {
  readonly request: Request;
  readonly objects: readonly Resource[];
  readonly offset: number;
  readonly limit: number;
}

const SERVICE = '/postern.v1.AuthorizationService';
const BATCH = 1_000;

/** Checks in batches; answers in their order. */
export async function checkAll(
  { server }: WorldServer,
  requests: readonly Request[],
): Promise<Answered[]> {
  const answers: Answered[] = [];
  const writer = new Writer();
  for (let at = 0; at < requests.length; at += BATCH) {
    for (const request of requests.slice(at, at + BATCH)) writer.bytes(8, checkRequest(request));
    const bytes = await server.client.raw(`${SERVICE}/BatchCheck`, writer.finish(), 60_000);
    const { results } = readMessage('BatchCheckResponse', bytes);
    answers.push(...(results as object[]).map(answerOf));
  }
  return answers;
}

/** Checks one by one, by `Check` or `Explain`. */
export async function checkEach(
  { server }: WorldServer,
  method: 'Check' | 'Explain',
  requests: readonly Request[],
): Promise<Answered[]> {
  const answers: Answered[] = [];
  for (const request of requests) {
    const bytes = await server.client.raw(`${SERVICE}/${method}`, checkRequest(request));
    const answer = readMessage(`${method}Response`, bytes);
    answers.push(answerOf(method === 'Check' ? answer : (answer['check'] as object)));
  }
  return answers;
}

/** Checks over one stream. Its client knows no key such as `__proto__`: the resources have no attributes. */
export async function checkStream(
  { server }: WorldServer,
  requests: readonly Request[],
): Promise<Answered[]> {
  const answers: Answered[] = [];
  const stream = server.client.stream();
  const ended = new Promise((done, failed) => stream.on('end', done).on('error', failed));
  stream.on('data', (answer: { readonly id: string }) => {
    answers[Number(answer.id)] = answerOf(answer);
  });
  for (const [index, { tenant, subject, keyId, action, resource }] of requests.entries()) {
    const { type, id, path } = resource;
    const resourceOf = { type, id, ...(path === undefined ? {} : { path }) };
    stream.write({
      id: String(index),
      tenant,
      subject,
      key_id: keyId,
      action,
      resource: resourceOf,
    });
  }
  stream.end();
  await ended;
  return answers;
}

export async function filterAll(
  { server }: WorldServer,
  questions: readonly FilterQuestion[],
): Promise<Answered[]> {
  const answers: Answered[] = [];
  for (const { request, objects, ...page } of questions) {
    const asked = filterRequest(request, objects, page);
    const answer = readMessage(
      'FilterResponse',
      await server.client.raw(`${SERVICE}/Filter`, asked),
    );
    answers.push({ ...answerOf(answer), visible: answer['allowed_indexes'] as number[] });
  }
  return answers;
}

/** The general codec gives the fields that the proto file names. */
function answerOf(answer: object): Answered {
  const { reason, decision_id } = answer as { reason: string; decision_id: string };
  return { reason: reason.replace('REASON_', ''), decisionId: decision_id };
}
