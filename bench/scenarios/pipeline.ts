/** Where the time of a call goes inside the process: each stage alone, then bytes to bytes without a socket. */
import { join } from 'node:path';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { compileRedaction } from '../../src/audit/record/redact.ts';
import { openFile } from '../../src/audit/sinks/file.ts';
import { openLog, type AuditLog } from '../../src/audit/log.ts';
import { openSink } from '../../src/audit/sinks/queue.ts';
import { compileCatalog } from '../../src/engine/action.ts';
import { decide } from '../../src/engine/decide.ts';
import { filter } from '../../src/engine/filter.ts';
import { requestProblem, resourceProblem } from '../../src/engine/validate.ts';
import { openFacts, type FactsRoom } from '../../src/facts/facts.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { openIdentity } from '../../src/identity/identity.ts';
import { openRateLimits } from '../../src/identity/rate.ts';
import { openUsage } from '../../src/identity/usage.ts';
import type { Service } from '../../src/service/calls.ts';
import { createService } from '../../src/service/service.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { decodeBatch } from '../../src/transport/codec/batch.ts';
import { decodeCheck, encodeCheck } from '../../src/transport/codec/check.ts';
import { decodeFilter, encodeFilter } from '../../src/transport/codec/filter.ts';
import { authorizationMethods } from '../../src/transport/grpc/methods.ts';
import { batches, checks, decode, filters, SERVICE } from '../messages.ts';
import { measure, type Effort, type Work } from '../measure.ts';
import {
  assertAnswer,
  time,
  type Row,
  type RunOptions,
  type Scenario,
  type Table,
} from '../scenario.ts';
import { withDirectory } from '../servers.ts';
import { ACTION, CATALOG, STATE } from '../world.ts';

export const CODEC_LIMITS = {
  checksPerBatch: 1_000,
  objectsPerFilter: 10_000,
  attributesPerResource: 64,
  valuesPerAttribute: 256,
  sourcesPerResource: 256,
  valuesPerResource: 16_384,
};
const LIMITS = { attributes: 64, valuesPerAttribute: 256 };
/** Longer than any run: work that goes over its first slice is taken up again only when the measured loop ends. */
const WAIT_MS = 3_600_000;

export const pipeline: Scenario = {
  name: 'pipeline',
  run: ({ effort }: RunOptions): Promise<Table> =>
    withFacts(async (facts, directory) => {
      const audit = fileLog(join(directory, 'audit.jsonl'));
      try {
        return { name: 'pipeline', rows: await stages(facts, audit, effort) };
      } finally {
        await audit.close(1_000);
      }
    }),
};

/** Runs with the facts of the benchmark's world, read from a store on disk. */
export function withFacts<T>(run: (facts: FactsRoom, directory: string) => Promise<T>): Promise<T> {
  return withDirectory(async (directory) => {
    const store = openEmbeddedStore(join(directory, 'data'));
    await applyState(store, STATE, [], 'operator:bench');
    const facts = openFacts(store, compileCatalog(CATALOG), {
      maxStalenessMs: 600_000,
      heartbeatMs: 500,
      storeTimeoutMs: 1_000,
      maxWaiting: 10_000,
      cache: {
        subjects: 100_000,
        keys: 10_000,
        absent: 10_000,
        groups: 10_000,
        tenants: 1_000,
        bytes: 2 ** 26,
      },
      now: () => performance.now(),
      wallNow: () => Date.now(),
      onHistoryLost: () => {},
      onResync: () => {},
      onStore: () => {},
      onEntries: () => {},
      onError: raise,
    });
    try {
      await facts.warmUp();
      return await run(facts, directory);
    } finally {
      facts.close();
      await store.close();
    }
  });
}

function raise(error: unknown): never {
  throw error;
}

async function stages(facts: FactsRoom, audit: AuditLog, effort: Effort): Promise<Row[]> {
  const [audited, unaudited] = [service(facts, audit), service(facts, undefined)];
  const method = (of: Service, name: string): ((bytes: Buffer) => unknown) => {
    const found = authorizationMethods(of, CODEC_LIMITS, 6_291_456).unary[`${SERVICE}/${name}`];
    if (found === undefined) throw new Error(`no method ${name}`);
    return (bytes) => found(bytes, WAIT_MS);
  };
  const checkBytes = checks();
  const filterBytes = filters(1_000)[0] ?? Buffer.alloc(0);
  const batchBytes = batches(50)[0] ?? Buffer.alloc(0);

  // The first call reads the user and the key into the caches; all later ones are warm and synchronous.
  await method(audited, 'Check')(checkBytes[0] ?? Buffer.alloc(0));
  const calls = checkBytes.map((bytes) => decodeCheck(bytes, CODEC_LIMITS));
  const filterCall = decodeFilter(filterBytes, CODEC_LIMITS);
  const first = calls[0];
  if (first === undefined) throw new Error('no requests');
  const loaded = facts.resolve(first.request, 0, 0);
  if (loaded instanceof Promise || !('facts' in loaded)) throw new Error('the facts are not warm');
  const answer = unaudited.check(first, 'check', 0);
  if (answer instanceof Promise || 'failure' in answer) throw new Error('no warm answer');
  assertAnswer('Check', answer.decision.reason, 'ALLOWED');
  // Its code is not compiled yet, so that this one may take more than a slice of the loop.
  const filtered = await unaudited.filter(filterCall, WAIT_MS);
  if ('failure' in filtered) throw new Error('no answer to Filter');
  assertAnswer('Filter', filtered.result.visible.length, 666);
  assertAnswer('codec', decode('Check', encodeCheck(answer))['reason'], 'REASON_ALLOWED');

  const inTurn = <T>(values: readonly T[], work: (value: T) => unknown): Work => {
    let at = 0;
    return () => {
      at = at + 1 === values.length ? 0 : at + 1;
      const value = values[at];
      return value !== undefined && work(value);
    };
  };
  const works: readonly (readonly [string, Work])[] = [
    ['Check: decode', inTurn(checkBytes, (bytes) => decodeCheck(bytes, CODEC_LIMITS))],
    [
      'Check: validate',
      inTurn(calls, ({ request }) => requestProblem(request, LIMITS) === undefined),
    ],
    ['Check: facts from the caches', inTurn(calls, ({ request }) => facts.resolve(request, 0, 0))],
    ['Check: decide', inTurn(calls, ({ request }) => decide(request, loaded.facts).allowed)],
    ['Check: service, audit off', inTurn(calls, (call) => unaudited.check(call, 'check', 0))],
    ['Check: service, audit to a file', inTurn(calls, (call) => audited.check(call, 'check', 0))],
    ['Check: encode', () => encodeCheck(answer)],
    ['Check, bytes to bytes, audit off', inTurn(checkBytes, method(unaudited, 'Check'))],
    ['Check, bytes to bytes, audit to a file', inTurn(checkBytes, method(audited, 'Check'))],
    ['BatchCheck of 50: decode', () => decodeBatch(batchBytes, CODEC_LIMITS)],
    [
      'BatchCheck of 50, bytes to bytes, audit off',
      () => method(unaudited, 'BatchCheck')(batchBytes),
    ],
    ['Filter of 1,000: decode', () => decodeFilter(filterBytes, CODEC_LIMITS)],
    [
      'Filter of 1,000: validate',
      () =>
        filterCall.objects.every((object, n) => resourceProblem(object, n, LIMITS) === undefined),
    ],
    [
      'Filter of 1,000: decide',
      () => filter({ ...filterCall, action: ACTION }, loaded.facts).visible.length,
    ],
    ['Filter of 1,000: encode', () => encodeFilter(filterCall, filtered)],
    ['Filter of 1,000, bytes to bytes', () => method(unaudited, 'Filter')(filterBytes)],
  ];
  const rows: Row[] = [];
  for (const [scenario, work] of works) {
    const { medianNs, p99Ns } = measure(work, effort);
    rows.push({ scenario, cells: { median: time(medianNs), p99: time(p99Ns) } });
    // The audit file is written between the stages, as it would be between calls.
    await new Promise((done) => setImmediate(done));
  }
  return rows;
}

export function metricsOf(facts: FactsRoom): Metrics {
  return createMetrics({
    facts: () => facts.stats(),
    factsAgeMs: () => 0,
    storeUp: () => true,
    sinks: [],
    ready: () => true,
    operations: [],
    version: 'bench',
  });
}

/** As `postern serve` writes it by default. */
function fileLog(path: string): AuditLog {
  const unbounded = { rotateBytes: 0, rotateMs: 0, keepFiles: 0, keepMs: 0, keepBytes: 0 };
  const file = openFile({ path, durable: false, ...unbounded, onError: raise });
  const options = { name: 'file', mode: 'drop', timeoutMs: 1_000, onError: raise } as const;
  return openLog('bench', [openSink(file, { ...options, bufferBytes: 16 * 1024 * 1024 })], 1_000);
}

/** @param audit `undefined`: nothing is recorded */
export function service(
  facts: FactsRoom,
  audit: AuditLog | undefined,
  metrics = metricsOf(facts),
): Service {
  return createService({
    facts,
    metrics,
    log: audit ?? openLog('bench', [], 1),
    redact: compileRedaction({ attributes: false, rules: [], hashKey: undefined }),
    sampling: undefined,
    limits: LIMITS,
    identity: openIdentity({ now: Date.now }),
    rateLimits: openRateLimits({ now: Date.now }),
    filterObjectCost: 1,
    usage: openUsage(Date.now),
    onCredential: () => {},
    onError: raise,
  });
}
