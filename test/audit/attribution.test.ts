/** Who and what stands in records: no secret, no text without a bound, no refusal that nobody sees. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRefusals } from '../../src/audit/record/refusals.ts';
import { recordSchema } from '../../src/audit/record/schema.ts';
import { correlationIdProblem } from '../../src/engine/id.ts';
import { mintKey, mintSession } from '../../src/identity/token.ts';
import { withoutTokens } from '../../src/util/tokens.ts';
import { collectingLog } from '../support/audit.ts';
import { openRecorder } from '../support/audit-records.ts';
import { postern, serve, type Serving } from '../support/process.ts';
import { connectTo, type Answer, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const KEY = mintKey('demo', 'agent-1').token;
const SESSION = mintSession('demo', 'alice', 's1').token;
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const JWT = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'alice' })}.${'z'.repeat(43)}`;
const UNSIGNED = `${part({ alg: 'none' })}.${part({ sub: 'alice' })}.`;

describe('a token in a text', () => {
  it.each([
    ['an API key', KEY],
    ['a session', SESSION],
    ['a JWT', JWT],
    ['an unsigned JWT', UNSIGNED],
    ['one of five parts', `${JWT}.aa.bb`],
  ])('is removed: %s', (_what, token) => {
    for (const [before, after] of [
      ['', ''],
      ['Bearer ', ''],
      ['user:', ''],
      ['{"a":"', '"}'],
      ['x', ''],
      ['GET /v1?token=', '&b=1'],
      ['a.b.', ''],
    ] as const) {
      const text = withoutTokens(`${before}${token}${after}`);
      for (const secret of token.split('.').filter((one) => one.length > 8))
        expect(text).not.toContain(secret.slice(3));
      expect(text.startsWith(before)).toBe(true);
      expect(text.endsWith(`***${after}`)).toBe(true);
    }
  });

  it('and nothing else is', () => {
    const texts = [
      'pstk',
      'pstk.acme',
      'eyJ',
      'heyJude.txt',
      'a.b.c',
      'work.projects.pstk',
      'postern.v1.AuthorizationService',
      JSON.stringify({ hash: createHash('sha256').update('eyJ').digest('base64url') }),
    ];
    for (const text of texts) expect(withoutTokens(text)).toBe(text);
  });

  it('is looked for in time by the length of the text', () => {
    for (const piece of ['eyJ', 'pstk.', 'psts.a.', 'eyJ.', 'eyJhbGciOiJub25lIn0.', '.', 'a']) {
      const text = piece.repeat(3_000_000 / piece.length);
      const startedAt = performance.now();
      withoutTokens(text);
      // By its square it would be minutes.
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    }
  });
});

describe('a correlation id', () => {
  it.each([
    ['', undefined],
    ['r-1', undefined],
    [' é ', undefined],
    ['x'.repeat(256), undefined],
    ['x'.repeat(257), 'is longer than 256 bytes'],
    ['é'.repeat(129), 'is longer than 256 bytes'],
    ['x'.repeat(4_000_000), 'is longer than 256 bytes'],
    ['a\nb', 'holds a control character'],
    ['a\u0085b', 'holds a control character'],
    ['\ud800', 'holds a lone surrogate'],
  ])('%j: %s', (id, problem) => {
    const found = correlationIdProblem(id);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(problem);
  });
});

describe('unknown callers', () => {
  it('are recorded: the first at once, the others together, whoever floods', async () => {
    const lines: string[] = [];
    const log = collectingLog(lines);
    const refusals = openRefusals(log, undefined, 30);
    for (let n = 0; n < 10_000; n++) refusals.note('unknown');
    refusals.note('missing');
    await expect.poll(() => lines.length).toBeGreaterThan(2);
    for (let n = 0; n < 5; n++) refusals.note('unknown');
    refusals.close();
    const records = lines.map((line) => JSON.parse(line) as { detail: string; count?: number });
    // However late its timers are.
    expect(lines.length).toBeLessThan(10);
    expect(records.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(10_006);
    expect(records[0]?.detail).toContain('none of grpc.callers');
    expect(records[1]?.detail).toContain('no bearer token');
    for (const record of records)
      expect(recordSchema.safeParse({ ...record, instance: '0123456789ab' }).error).toBeUndefined();
  });
});

describe('a running server', () => {
  const TOKEN = 'a-token-of-a-service-that-may-ask';
  let own: Serving;
  let client: TestClient;
  beforeAll(async () => {
    own = await serve(['--demo'], {
      environment: { POSTERN_ADMIN_TOKEN: 'a-token-of-twenty-four-chars' },
    });
    client = connectTo(own.grpc);
  });
  afterAll(async () => {
    client.close();
    await own.dispose();
  });
  const question = {
    tenant: 'demo',
    subject: { id: 'alice' },
    action: 'read',
    resource: { path: 'work' },
  };
  const refused = (method: string, request: object): Promise<{ code: number; details: string }> =>
    client.call(method, request).then(
      () => expect.fail('it was answered'),
      (error: { code: number; details: string }) => error,
    );
  const recorded = async (isIt: (line: string) => boolean): Promise<Answer> => {
    await expect.poll(() => own.audit().split('\n').some(isIt), { timeout: 10_000 }).toBe(true);
    return JSON.parse(own.audit().split('\n').find(isIt) ?? '') as Answer;
  };

  it('refuses an id without a bound, and names the limit', async () => {
    const long = { ...question, id: 'i'.repeat(1_000_000) };
    const objects = [{ id: 'a' }];
    for (const [method, request] of [
      ['Check', long],
      ['Check', { ...question, id: 'a\nb' }],
      ['Explain', long],
      ['Filter', { ...long, objects }],
    ] as const) {
      const error = await refused(method, request);
      expect(error.code).toBe(3);
      expect(error.details).toMatch(/^id: /);
      expect(error.details.length).toBeLessThan(300);
    }
    // The same question, asked before: another id each time.
    await client.call('Check', { ...question, id: 'r-1' });
    expect((await refused('Check', long)).code).toBe(3);
    await client.call('Check', { ...question, id: 'r-2' });
    expect(own.audit()).not.toContain('iiii');
  });

  it('records malformed items of a batch as denies, and answers under their id', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 100 }, (_, n) => [`k${n}`, { string_value: 'v' }]),
    );
    const { results } = await client.call('BatchCheck', {
      ...question,
      checks: [
        { id: 'good' },
        { id: 'bad-path', resource: { path: 'a..b' } },
        { id: 'bad-attributes', resource: { path: 'a', attributes: many } },
        { id: 'bad-action', action: '' },
        { id: 'x'.repeat(5_000) },
      ],
    });
    const answers = results as readonly (Answer & { id: string; decision_id: string })[];
    expect(answers.map(({ id, allowed }) => [id.slice(0, 14), allowed])).toEqual([
      ['good', true],
      ['bad-path', false],
      ['bad-attributes', false],
      ['bad-action', true],
      ['x'.repeat(14), false],
    ]);
    for (const { id, allowed, decision_id: decision } of answers) {
      expect(decision).not.toBe('');
      const record = await recorded((line) => line.includes(`"decision_id":"${decision}"`));
      expect(record).toMatchObject({ type: 'decision', api: 'batch_check', allowed });
      expect(String(record['request_id']).startsWith(id.slice(0, 14))).toBe(true);
      if (allowed !== true) expect(record['reason']).toBe('INVALID_ARGUMENT');
      expect(JSON.stringify(record).length).toBeLessThan(1_500);
      expect(recordSchema.safeParse(record).error).toBeUndefined();
    }
  });

  it('records a malformed message of a stream as the deny that it is', async () => {
    const stream = client.stream();
    const answered = new Promise<Answer>((done) => stream.on('data', done));
    stream.write({ ...question, id: 'streamed', resource: { path: 'a..b' } });
    const answer = await answered;
    stream.end();
    expect(answer).toMatchObject({ id: 'streamed', allowed: false });
    const decision = String(answer['decision_id']);
    expect(await recorded((line) => line.includes(`"decision_id":"${decision}"`))).toMatchObject({
      api: 'check_stream',
      request_id: 'streamed',
      reason: 'INVALID_ARGUMENT',
    });
  });

  it('keeps tokens out of records and logs, wherever somebody puts them', async () => {
    for (const token of [KEY, SESSION, JWT]) {
      const calls = [
        { ...question, subject: { id: token } },
        { ...question, id: token },
        { ...question, id: `Bearer ${token}` },
        { ...question, key_id: token },
        { ...question, resource: { type: 'doc', id: token } },
        { ...question, action: token },
        { ...question, tenant: token },
      ];
      for (const request of calls) await client.call('Check', request).catch(() => {});
      const args = [
        'user',
        'create',
        token,
        '--tenant',
        'demo',
        '--token',
        'a-token-of-twenty-four-chars',
      ];
      await postern(args, own.environment);
      await postern(['role', 'create', 'r', '--tenant', token, ...args.slice(5)], own.environment);
    }
    await client.call('Check', { ...question, id: 'the-last' });
    await recorded((line) => line.includes('the-last'));
    const text = own.audit() + own.stderr();
    expect(text).toContain('pstk.***');
    expect(text).toContain('psts.***');
    expect(text).toContain('eyJ***');
    for (const token of [KEY, SESSION, JWT]) expect(text).not.toContain(token.split('.').at(-1));
    const verified = await postern(['audit', 'verify', '--schema'], own.environment);
    expect(verified.stdout).toMatch(/\nwhole: /);
  });

  it('records callers that it does not know, without their token', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'audit.jsonl');
    const hash = createHash('sha256').update(TOKEN).digest('hex');
    const guarded = await serve(['--demo'], {
      settings: readFileSync(join(own.directory, 'postern.yaml'), 'utf8')
        .replace(
          'grpc: { address: 127.0.0.1:0 }',
          `grpc: { address: 127.0.0.1:0, callers: [{ name: app, token_sha256: ${hash} }] }`,
        )
        .replace('path: audit.jsonl', `path: ${log}`),
    });
    const stranger = connectTo(guarded.grpc);
    for (let n = 0; n < 50; n++)
      await expect(stranger.call('Check', question)).rejects.toMatchObject({ code: 16 });
    stranger.close();
    expect(await guarded.stop()).toBe(0);
    const records = readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer)
      .filter(({ type }) => type === 'authentication');
    expect(records).toHaveLength(2);
    expect(records).toMatchObject([
      { tenant: '', reason: 'UNAUTHENTICATED', allowed: false },
      { count: 49 },
    ]);
    await guarded.dispose();
  });
});

describe('a query with a tenant', () => {
  it('says how many records name none, and shows them where asked', async () => {
    const file = join(temporaryDirectory(), 'audit.jsonl');
    const recorder = openRecorder();
    const lines = [
      recorder.decision(),
      recorder.decision({ tenant: '' }),
      recorder.decision({ tenant: 'globex' }),
      recorder.decision({ tenant: '', keyId: 'other' }),
      recorder.authentication('no'),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const query = (...more: readonly string[]) =>
      postern(['audit', 'query', '--file', file, '--tenant', 'acme', '-o', 'json', ...more]);
    const own = await query();
    expect(own.stdout.trimEnd().split('\n')).toEqual([lines[0], lines[4]]);
    expect(own.stderr).toBe('2 more record(s) name no tenant: --with-unattributed shows them\n');
    const all = await query('--with-unattributed');
    expect(all.stdout.trimEnd().split('\n')).toEqual([lines[0], lines[1], lines[3], lines[4]]);
    expect(all.stderr).toBe('');
    // What else is asked for holds for them, too.
    const some = await query('--key', 'other');
    expect(some).toMatchObject({ code: 1, stdout: '' });
    expect(some.stderr).toContain('1 more record(s) name no tenant');
  });
});
