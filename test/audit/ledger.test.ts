/** The ledger: every answer stands in the audit stream exactly once, as it was given, also where the process is killed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { filesOf, linesOf } from '../../src/audit/logs/names.ts';
import { serve, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type TestClient } from '../support/server.ts';

/** `POSTERN_LEDGER=1000000 POSTERN_KILLS=100` for the long run. */
const CHECKS = Number(process.env['POSTERN_LEDGER'] ?? 50_000);
const KILLS = Number(process.env['POSTERN_KILLS'] ?? 8);
const CLIENTS = 4;
const BATCH = 100;

let directory: string;
let log: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-ledger-'));
  log = join(directory, 'audit.jsonl');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const start = (mode: string, more = ''): Promise<Serving> =>
  serve(['--demo'], {
    settings: [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `store: embedded:${join(directory, 'store')}`,
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      `audit: { sinks: [{ type: file, path: ${log}, mode: ${mode}${more} }] }`,
      '',
    ].join('\n'),
  });

interface Answer {
  readonly decision_id: string;
  readonly allowed: boolean;
}

const SUBJECTS = ['alice', 'bob', 'carol', 'nobody'];
const PATHS = ['work', 'work.projects.api', 'home', 'work.projects'];

const question = (n: number): object => ({
  tenant: 'demo',
  subject: { id: SUBJECTS[n % SUBJECTS.length] },
  action: n % 3 === 0 ? 'write' : 'read',
  resource: { path: PATHS[n % PATHS.length] },
});

/** What the files tell: decisions by id, how often a number comes, and lines that are no record. */
async function read(): Promise<{
  readonly decisions: ReadonlyMap<string, readonly boolean[]>;
  readonly numbers: ReadonlyMap<string, readonly number[]>;
  readonly torn: number;
}> {
  const decisions = new Map<string, boolean[]>();
  const numbers = new Map<string, number[]>();
  let torn = 0;
  for (const file of await filesOf(log))
    for await (const { text } of linesOf(file)) {
      let record: Answer & {
        readonly type: string;
        readonly instance: string;
        readonly seq: number;
      };
      try {
        record = JSON.parse(text) as typeof record;
      } catch {
        torn++;
        continue;
      }
      const { decision_id: id, instance, seq, allowed } = record;
      if (record.type !== 'seal') decisions.set(id, [...(decisions.get(id) ?? []), allowed]);
      const of = numbers.get(instance) ?? [];
      of.push(seq);
      numbers.set(instance, of);
    }
  return { decisions, numbers, torn };
}

/** Answers whose record is missing, doubled, or tells something else. */
function wrong(
  answers: ReadonlyMap<string, boolean>,
  decisions: ReadonlyMap<string, readonly boolean[]>,
): readonly string[] {
  return [...answers].flatMap(([id, allowed]) => {
    const told = decisions.get(id) ?? [];
    return told.length === 1 && told[0] === allowed ? [] : [id];
  });
}

describe('the ledger', () => {
  it(
    `of ${CHECKS} checks by several clients, over all calls, through rotation: each answer is there exactly once`,
    { timeout: 600_000 },
    async () => {
      const own = await start('block', ', rotate_bytes: 4000000');
      const answers = new Map<string, boolean>();
      const note = ({ decision_id: id, allowed }: Answer): void => void answers.set(id, allowed);
      const one = async (client: TestClient, share: number): Promise<void> => {
        const unary = Math.min(1_000, share / 4);
        for (let n = 0; n < unary; n++) note((await client.call('Check', question(n))) as never);
        const streamed = client.stream();
        const came = new Promise<void>((done) => {
          let count = 0;
          streamed.on('data', (answer: Answer) => {
            note(answer);
            if (++count === unary) done();
          });
        });
        for (let n = 0; n < unary; n++) streamed.write(question(n));
        await came;
        streamed.end();
        for (let n = 2 * unary; n < share; n += BATCH) {
          const checks = Array.from({ length: BATCH }, (_, at) => question(n + at));
          const batch = await client.call('BatchCheck', { checks });
          for (const answer of batch['results'] as readonly Answer[]) note(answer);
        }
      };
      const clients = Array.from({ length: CLIENTS }, () => connectTo(own.grpc));
      await Promise.all(clients.map((client) => one(client, CHECKS / CLIENTS)));
      for (const client of clients) client.close();
      expect(await own.stop()).toBe(0);
      await own.dispose();

      expect(answers.size).toBeGreaterThanOrEqual(CHECKS);
      expect([...answers.values()].filter(Boolean).length).toBeGreaterThan(CHECKS / 10);
      const { decisions, numbers, torn } = await read();
      expect((await filesOf(log)).length).toBeGreaterThan(2);
      expect(torn).toBe(0);
      expect(decisions.size).toBe(answers.size);
      expect(wrong(answers, decisions)).toEqual([]);
      expect(numbers.size).toBe(1);
      for (const seqs of numbers.values())
        expect(seqs.every((seq, index) => seq === index + 1)).toBe(true);
    },
  );

  /** Kills the server again and again under load. @returns answers whose record is not there */
  async function killed(mode: string, kills: number): Promise<readonly string[]> {
    const answers = new Map<string, boolean>();
    for (let kill = 0; kill < kills; kill++) {
      const own = await start(mode);
      const clients = Array.from({ length: CLIENTS }, () => connectTo(own.grpc));
      const server = { dead: false };
      // At an answer, so that it is under load.
      let left = 101 + Math.floor(Math.random() * 900);
      const asking = clients.flatMap((client, index) =>
        Array.from({ length: 8 }, async (_, lane) => {
          for (let n = index + lane; !server.dead; n++)
            await client.call('Check', question(n), 2_000).then(
              (answer) => {
                const { decision_id: id, allowed } = answer as unknown as Answer;
                answers.set(id, allowed);
                if (--left > 0) return;
                own.child.kill('SIGKILL');
                server.dead = true;
              },
              () => {
                // The call that the kill has cut.
              },
            );
        }),
      );
      await Promise.all(asking);
      for (const client of clients) client.close();
      await own.dispose();
    }
    expect(answers.size).toBeGreaterThan(kills * 100);
    const { decisions } = await read();
    return wrong(answers, decisions);
  }

  it(
    `strict to a file, killed ${KILLS} times under load: no answered call is unrecorded`,
    { timeout: 600_000 },
    async () => {
      expect(await killed('strict', KILLS)).toEqual([]);
    },
  );

  it(
    'without that promise, records are lost by a kill: what is tested can fail',
    { timeout: 300_000 },
    async () => {
      // A kill loses what the last 20 ms held; where this process is late to ask for it, that is nothing.
      let lost = 0;
      for (let kill = 0; kill < 60 && lost === 0; kill++) lost = (await killed('drop', 1)).length;
      expect(lost).toBeGreaterThan(0);
    },
  );
});
