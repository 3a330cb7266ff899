/** A server that ends: within its time, whatever callers hold open, and without an answer from facts it follows no more. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openLog } from '../../src/audit/log.ts';
import { openSink } from '../../src/audit/sinks/queue.ts';
import { ask, askNow } from '../support/asking.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { openRoom, put, role, user } from '../support/records.ts';
import { manager } from '../support/admin.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type Answer, type TestClient } from '../support/server.ts';
import { serve, type Serving } from '../support/process.ts';

const GRACE_MS = 2_000;
/** A busy machine may be late by this. */
const LATE_MS = 3_000;
const READ = {
  tenant: 'demo',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work.projects.api' },
};

let server: Serving | undefined;
const clients: TestClient[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.dispose();
  server = undefined;
});

async function start(workers: number): Promise<Serving> {
  server = await serve(['--demo'], {
    settings: JSON.stringify({
      catalog: `${PACKAGE_ROOT}/config/actions.yaml`,
      default_roles: `${PACKAGE_ROOT}/config/roles.yaml`,
      store: 'embedded:store',
      workers,
      grpc: { address: '127.0.0.1:0' },
      http: { address: '127.0.0.1:0' },
      limits: { max_lag_ms: 0 },
      audit: { sinks: [{ type: 'file', path: 'audit.jsonl' }] },
      shutdown: { grace_ms: GRACE_MS },
    }),
  });
  return server;
}

interface Asking {
  /** Asks once more. @returns false: the stream is over */
  readonly ask: () => boolean;
  readonly answers: Answer[];
}

/** A CheckStream that stays open. */
async function asking({ grpc }: Serving): Promise<Asking> {
  const client = connectTo(grpc, { own: true });
  clients.push(client);
  const stream = client.stream();
  const answers: Answer[] = [];
  let over = false;
  stream.on('data', (answer: Answer) => answers.push(answer));
  stream.on('error', () => (over = true)).on('end', () => (over = true));
  const ask = (): boolean => {
    if (!over) stream.write(READ);
    return !over;
  };
  ask();
  await expect.poll(() => answers.length).toBe(1);
  expect(answers[0]).toMatchObject({ allowed: true });
  return { ask, answers };
}

describe.each([1, 2])('with %i worker(s)', (workers) => {
  it('cuts streams at the end of its time, and allows nothing that was revoked meanwhile', async () => {
    const running = await start(workers);
    const streams = [await asking(running), await asking(running)];
    // One that says nothing, and one in the middle of its first frame.
    const [host, port] = running.grpc.split(':');
    for (const said of ['', 'PRI * HTTP/2.0\r\n']) {
      const socket = connect(Number(port), host);
      sockets.push(socket.on('error', () => {}));
      socket.write(said);
    }
    const store = openEmbeddedStore(join(running.directory, 'store'));
    const startedAt = performance.now();
    const ended = running.stop('SIGTERM');
    await sleep(100);
    await manager(store).as('operator', 'UpdateUser', {
      tenant: 'demo',
      id: 'alice',
      suspended: true,
    });
    // It is in force within this time, as always.
    await sleep(700);
    const before = streams.map(({ answers }) => answers.length);
    while (running.child.exitCode === null && performance.now() - startedAt < 20_000) {
      for (const { ask } of streams) ask();
      await sleep(20);
    }
    expect(await ended).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(GRACE_MS + LATE_MS);
    for (const [index, { answers }] of streams.entries()) {
      const after = answers.slice(before[index]);
      expect(after.length).toBeGreaterThan(0);
      expect(after.filter(({ allowed }) => allowed === true)).toEqual([]);
    }
    await store.close();
  });
});

describe('what is closed answers nobody', () => {
  it('facts, whether they were warm or are on their way', async () => {
    const memory = openMemoryStore();
    const room = openRoom(memory, {});
    await put(
      memory,
      't',
      role('reader', ['doc:read']),
      user('alice', { roles: ['reader'] }),
      user('bob'),
    );
    expect(await ask(room, { user: 'alice' })).toMatch(/^ALLOWED@/);
    const onItsWay = ask(room, { user: 'bob' });
    room.close();
    expect(askNow(room, { user: 'alice' })).toBe('UNAVAILABLE');
    expect(await onItsWay).toBe('UNAVAILABLE');
    expect(await ask(room, { user: 'carol' })).toBe('UNAVAILABLE');
  });

  it.each(['drop', 'block', 'strict'] as const)('a log whose sink is in mode %s', async (mode) => {
    const destination = {
      keep: (): Promise<void> => Promise.resolve(),
      close: (): Promise<void> => Promise.resolve(),
    };
    const sink = openSink(destination, {
      name: 'test',
      mode,
      bufferBytes: 1_000,
      timeoutMs: 100,
      onError: () => {},
    });
    const log = openLog('instance', [sink], 10);
    expect(log.isOpen()).toBe(true);
    await log.close(1_000);
    expect(log.isOpen()).toBe(false);
    expect(await log.whenOpen(60_000)).toBe(false);
  });
});
