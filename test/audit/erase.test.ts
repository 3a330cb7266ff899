/** `postern audit erase`: nothing that is typed as the subject is left, all else is as it was, and files are whole. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  utimesSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { CHAIN_START, chainHash, sealOf } from '../../src/audit/seals/chain.ts';
import { rotatedName, workerName } from '../../src/audit/logs/names.ts';
import { openRecorder } from '../support/audit-records.ts';
import { postern, serve, type Ran } from '../support/process.ts';
import { startRedis } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const PSEUDONYM = /erased:[\w-]{43}/g;
/** Alice, and what only looks like her. */
const SECRETS = ['user:alice', '"alice"', '`alice`', 'alice@example.com', 'ext-alice', 'likes tea'];

let directory: string;
let file: string;
let rotated: string;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory, 'audit.jsonl');
  rotated = rotatedName(file, new Date(1_000));
});

const erase = (...args: readonly string[]): Promise<Ran> =>
  postern(['audit', 'erase', '--subject', 'user:alice', '--file', file, ...args]);

/** A user as it is stored. */
const user = (id: string, fields: object = {}): object => ({
  id,
  type: 'user',
  roles: ['member'],
  grants: [{ path: 'work', actions: ['read'], grantor: 'user:alice', grantOption: false }],
  ...fields,
});

/** Records that name alice in every way there is, `bob` in all the others, and traps. */
function records(recorder = openRecorder()): string[] {
  const attributes = new Map<string, string[]>([
    ['user_id', ['alice']],
    ['user_read_access', ['bob', 'alice']],
    ['role_read_access', ['member']],
  ]);
  const item = { type: 'user', id: 'alice', path: undefined, attributes, sources: [attributes] };
  return [
    recorder.decision({ subject: 'alice', requestId: 'of alice' }),
    recorder.decision({ subject: 'bob', resource: { type: 'user', id: 'alice', attributes } }),
    recorder.decision({
      subject: 'bob',
      api: 'filter',
      objects: { items: [item], offset: 0, limit: 0, visible: [], shadowHidden: 0, shadowShown: 0 },
    }),
    recorder.management({
      actor: 'user:alice',
      changes: [
        {
          kind: 'user',
          id: 'alice',
          before: undefined,
          after: user('alice', {
            email: 'alice@example.com',
            externalId: 'ext-alice',
            metadata: { note: 'likes tea' },
          }),
        },
        { kind: 'owner', id: 'work', before: { path: 'work', owner: 'alice' }, after: undefined },
        { kind: 'key', id: 'agent', before: undefined, after: { id: 'agent', user: 'alice' } },
        { kind: 'role', id: 'eng', before: undefined, after: { id: 'eng', creator: 'user:alice' } },
      ],
    }),
    recorder.management({ actor: 'user:bob' }),
    recorder.management({
      refused: {
        kind: 'permission_denied',
        rule: 'ADM-5',
        message: '`user:alice` or `alice` may, of role `member`',
      },
    }),
    recorder.authentication('`user:bob` may not act as `user:alice`'),
  ];
}

/** Not typed as her, or somebody else. */
function traps(recorder = openRecorder('ffffffffffff')): string[] {
  return [
    recorder.decision({ subject: 'Alice', requestId: 'user:alice' }),
    recorder.decision({ subject: 'bob', action: 'user:alice', resource: { id: 'alice' } }),
    recorder.decision({
      subject: 'bob',
      context: { who: 'alice' },
      resource: { path: 'alice', attributes: new Map([['team', ['alice']]]) },
    }),
    recorder.management({
      changes: [{ kind: 'role', id: 'alice', before: undefined, after: { id: 'alice' } }],
    }),
    'no record: user:alice',
  ];
}

const joined = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

describe('a subject', () => {
  it('is gone from every place that is typed as it, under one name', async () => {
    writeFileSync(rotated, joined(records()));
    writeFileSync(file, '');
    expect(await erase()).toMatchObject({ code: 0 });
    const text = readFileSync(rotated, 'utf8');
    for (const secret of SECRETS)
      expect(text.replace('"request_id":"of alice"', '')).not.toContain(secret);
    const names = new Set(text.match(PSEUDONYM));
    // Her id, and three values that are told of her.
    expect(names.size).toBe(4);
    const [decision, other] = text.split('\n').map((line) => line && (JSON.parse(line) as object));
    const [name = ''] = names;
    expect(decision).toMatchObject({ subject: `user:${name}`, request_id: 'of alice' });
    expect(other).toMatchObject({
      subject: 'user:bob',
      resource: { type: 'user', id: name, attributes: { user_read_access: ['bob', name] } },
    });
  });

  it('is erased without breaking the chain, which tells how many were', async () => {
    writeFileSync(rotated, joined(records()));
    await erase();
    const verify = ['audit', 'verify', '--file', file, '-o', 'json'];
    const { code, stdout } = await postern([...verify, '--schema']);
    expect(JSON.parse(stdout)).toMatchObject({ whole: true, records: 7, erased: 6 });
    expect(code).toBe(0);
    // What was not erased is proven as before.
    const text = readFileSync(rotated, 'utf8');
    writeFileSync(rotated, text.replace('"actor":"user:bob"', '"actor":"user:eve"'));
    const spoilt = await postern(['audit', 'verify', '--file', file]);
    expect(spoilt.stdout).toContain(`tampered: ${rotated}:5, instance 0123456789ab, record 5`);
  });

  it('cannot be guessed from the hash that stays', async () => {
    const [, , , line = ''] = records();
    writeFileSync(rotated, joined([line]));
    await erase();
    const erased = readFileSync(rotated, 'utf8').trimEnd();
    const left = sealOf(erased);
    const hashOf = (body = ''): string => chainHash(undefined, CHAIN_START, body);
    // What it was proves itself by its salt, of which nothing is left.
    const body = sealOf(line)?.body;
    expect(left?.hash).toBe(hashOf(body));
    expect(erased).not.toContain('"salt"');
    expect(left?.hash).not.toBe(hashOf(body?.replace(/,"salt":"[\w-]{22}"/, '')));
  });

  it('that only looks alike stays, byte for byte', async () => {
    const bytes = Buffer.concat([
      Buffer.from(joined(traps())),
      Buffer.of(0xff, 0x0a),
      Buffer.from('{"v":1,"type":"dec'),
    ]);
    const alice = Buffer.from(joined([openRecorder().decision()]));
    writeFileSync(rotated, Buffer.concat([alice, bytes]));
    expect(await erase()).toMatchObject({ code: 0 });
    const after = readFileSync(rotated);
    expect(after.subarray(after.length - bytes.length).equals(bytes)).toBe(true);
    expect(after.subarray(0, -bytes.length).toString()).toMatch(PSEUDONYM);
  });

  it('is another in another tenant', async () => {
    const recorder = openRecorder();
    const lines = ['acme', 'globex'].map((tenant) => recorder.decision({ tenant }));
    writeFileSync(rotated, joined(lines));
    const refused = await erase();
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('stands in records of acme, globex: name one');
    expect(readFileSync(rotated, 'utf8')).toBe(joined(lines));
    await erase('--tenant', 'acme');
    const [acme = '', globex] = readFileSync(rotated, 'utf8').split('\n');
    expect(acme).toMatch(PSEUDONYM);
    expect(globex).toBe(lines[1]);
    await erase('--all-tenants');
    const names = readFileSync(rotated, 'utf8').match(PSEUDONYM) ?? [];
    expect(new Set(names).size).toBe(2);
  });

  it('has another name in each run, and none the second time', async () => {
    writeFileSync(rotated, joined(records()));
    await erase();
    const first = readFileSync(rotated);
    const { ino } = statSync(rotated);
    const again = await erase('-o', 'json');
    expect(JSON.parse(again.stdout)).toMatchObject({ found: [{ places: 0, erased: false }] });
    expect(readFileSync(rotated).equals(first)).toBe(true);
    expect(statSync(rotated).ino).toBe(ino);
    writeFileSync(rotated, joined(records()));
    await erase();
    expect(first.toString()).not.toContain(readFileSync(rotated, 'utf8').match(PSEUDONYM)?.[0]);
  });

  it('is left alone in a dry run, which counts', async () => {
    const before = joined(records());
    writeFileSync(rotated, before);
    const { code, stdout } = await erase('--dry-run', '-o', 'json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      dry_run: true,
      found: [{ where: rotated, records: 6, places: 23, erased: false, left: '' }],
    });
    expect(readFileSync(rotated, 'utf8')).toBe(before);
  });

  it('may be a role, and several may go at once', async () => {
    writeFileSync(rotated, joined(records()));
    await erase('--subject', 'role:member', '--subject', 'bob');
    const text = readFileSync(rotated, 'utf8');
    for (const secret of ['member', 'bob']) expect(text).not.toContain(secret);
  });

  it.each([
    [['--subject', ''], '--subject: `` is empty'],
    [['--subject', 'user:a\nb'], '--subject: `user:a\\u000ab` holds a control character'],
    [['--file', '-'], '--file: `-` cannot be replaced'],
  ])('%j is refused', async (args, message) => {
    const ran = await erase(...args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(message);
  });
});

describe('a file', () => {
  it('keeps its mode and its time', async () => {
    writeFileSync(rotated, joined(records()));
    // More than the umask lets through.
    chmodSync(rotated, 0o666);
    utimesSync(rotated, 1_000, 2_000);
    await erase();
    const { mode, mtimeMs } = statSync(rotated);
    expect([mode & 0o7777, mtimeMs]).toEqual([0o666, 2_000_000]);
    expect(readdirSync(directory)).toHaveLength(1);
  });

  it('that is written to is left without --current, and told', async () => {
    writeFileSync(rotated, joined(traps()));
    writeFileSync(file, joined(records()));
    // Whatever way it is named.
    for (const name of [file, `${directory}/./audit.jsonl`, `${directory}//audit.jsonl`]) {
      const { code, stdout } = await erase('--file', name);
      expect(code).toBe(1);
      expect(stdout).toContain('it may be written to: erase with --current');
      expect(readFileSync(file, 'utf8')).toContain('user:alice');
    }
  });

  it('that is named twice is erased once', async () => {
    writeFileSync(file, joined(records()));
    const twice = await erase('--file', `${directory}/./audit.jsonl`, '--current', '-o', 'json');
    expect(JSON.parse(twice.stdout)).toMatchObject({ found: [{ records: 6, erased: true }] });
    expect(twice.code).toBe(0);
  });

  it('that retention removes meanwhile names nobody', async () => {
    const removed = rotatedName(workerName(file, 1), new Date(1_000));
    for (const name of [file, removed]) writeFileSync(name, joined(records()));
    const erasing = erase('--current', '-o', 'json');
    // It waits for the sink of the first one.
    await expect.poll(() => existsSync(file), { timeout: 20_000, interval: 10 }).toBe(false);
    unlinkSync(removed);
    const { code, stdout } = await erasing;
    expect(JSON.parse(stdout)).toMatchObject({
      found: [
        { records: 6, erased: true },
        { where: removed, records: 0, erased: false, left: '' },
      ],
    });
    expect(code).toBe(0);
  });

  it('of a worker is a file of the log', async () => {
    const names = [workerName(file, 1), rotatedName(workerName(file, 12), new Date(1_000))];
    for (const name of names) writeFileSync(name, joined(records()));
    const { stdout } = await erase('-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      found: [
        { where: names[0], erased: false },
        { where: names[1], erased: true },
      ],
    });
    expect(await erase('--current')).toMatchObject({ code: 0 });
    expect(readdirSync(directory)).toHaveLength(2);
  });

  it('under a server is erased without the loss of a record', async () => {
    const own = await serve(['--demo']);
    const client = connectTo(own.grpc);
    const log = join(own.directory, 'audit.jsonl');
    let asked = 0;
    const over = new AbortController();
    const asking = (async () => {
      for (; !over.signal.aborted; asked++) {
        const subject = { id: asked < 50 ? 'alice' : 'bob' };
        await client.call('Check', {
          tenant: 'demo',
          subject,
          action: 'read',
          resource: { path: 'w' },
        });
        await new Promise((done) => setTimeout(done, 5));
      }
    })();
    await expect.poll(() => asked, { timeout: 20_000 }).toBeGreaterThan(100);
    await expect.poll(() => readFileSync(log, 'utf8'), { timeout: 20_000 }).toContain('bob');
    const ran = await postern(
      ['audit', 'erase', '--subject', 'alice', '--tenant', 'demo', '--current'],
      own.environment,
    );
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    over.abort();
    await asking;
    client.close();
    expect(await own.stop()).toBe(0);
    const verified = await postern(['audit', 'verify', '--schema', '-o', 'json'], own.environment);
    const report = JSON.parse(verified.stdout) as {
      erased: number;
      instances: [{ seals: number }];
    };
    // What nobody can prove is complete where its number is known.
    const complete = ['audit', 'verify', '--schema', '--complete'];
    expect(await postern(complete, own.environment)).toMatchObject({ code: 1 });
    expect(
      await postern([...complete, '--expect-erased', String(report.erased)], own.environment),
    ).toMatchObject({ code: 0 });
    const [{ seals }] = report.instances;
    expect(report).toMatchObject({ whole: true, unsealed: 0, records: asked + seals });
    const left = await postern(['audit', 'query', '--subject', 'alice'], own.environment);
    expect(left.code).toBe(1);
    await own.dispose();
  });

  it('is the old one or the new one, whole, wherever erasing is killed', async () => {
    const recorder = openRecorder();
    const lines = Array.from({ length: 5_000 }, (_, at) =>
      recorder.decision({ subject: at % 2 === 0 ? 'alice' : 'bob' }),
    );
    const old = joined(lines);
    const anonymous = (text: string): string =>
      text.replace(PSEUDONYM, 'alice').replaceAll(',"erased":true', '');
    const names = [1, 2, 3].map((at) => rotatedName(file, new Date(at)));
    const seen = { old: 0, new: 0 };
    for (let round = 0; round < 9; round++) {
      for (const name of names) writeFileSync(name, old);
      const args = ['audit', 'erase', '--subject', 'alice', '--file', file];
      const child = spawn(process.execPath, [join(PACKAGE_ROOT, 'dist/postern.js'), ...args]);
      const exited = once(child, 'exit');
      // While the first, the second or the third is rewritten, or a little later.
      await rewriting((round % 3) + 1, exited);
      await new Promise((done) => setTimeout(done, 30 * Math.random()));
      child.kill('SIGKILL');
      await exited;
      for (const name of names) {
        const text = readFileSync(name, 'utf8');
        if (text === old) seen.old++;
        else {
          expect([text.includes('alice'), anonymous(text) === old]).toEqual([false, true]);
          seen.new++;
        }
      }
    }
    // The kills have come before, between and after.
    expect(seen.old).toBeGreaterThan(0);
    expect(seen.new).toBeGreaterThan(0);
    expect(await erase()).toMatchObject({ code: 0 });
    expect(readdirSync(directory)).toHaveLength(3);
  });
});

/** Until so many files are, or were, written anew. */
async function rewriting(count: number, exited: Promise<unknown>): Promise<void> {
  const made = new Set<string>();
  const watcher = watch(directory);
  const { promise, resolve } = Promise.withResolvers<void>();
  watcher.on('change', (_type, name) => {
    if (String(name).includes('.rewritten-')) made.add(String(name));
    if (made.size >= count) resolve();
  });
  await Promise.race([promise, exited]);
  watcher.close();
}

describe('a Redis stream', () => {
  it('is left, and the command that would remove the entries is told', async () => {
    const redis = await startRedis();
    const recorder = openRecorder();
    const lines = ['alice', 'bob', 'alice', 'bob'].map((subject) => recorder.decision({ subject }));
    for (const [at, line] of lines.entries())
      await redis.command('XADD', 'postern:audit', `${at + 1}-7`, 'record', line);
    const run = (): Promise<Ran> =>
      postern(['audit', 'erase', '--subject', 'alice', '--redis', redis.url]);
    const { code, stdout } = await run();
    expect(code).toBe(1);
    const [, command = ''] = /`XTRIM ([^`]+)`/.exec(stdout) ?? [];
    expect(command).toBe('postern:audit MINID 3-8');
    await redis.command('XTRIM', ...command.split(' '));
    expect(await redis.command('XLEN', 'postern:audit')).toBe(1);
    expect(await run()).toMatchObject({ code: 0 });
    await redis.dispose();
  });
});
