/**
 * Messages that are larger than they look, or many at once. The caller is judged before anything of a message is
 * read; what inflates, and what is being received, has a bound for each message and one for all of them together.
 */
import { createHash } from 'node:crypto';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Writer } from '../../src/transport/codec/wire.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { serve, type Serving } from '../support/process.ts';
import { connectRaw, forgetPeak, frame, peakMiB, type RawAnswer } from '../support/raw-grpc.ts';

const CHECK = '/postern.v1.AuthorizationService/Check';
const STREAM = '/postern.v1.AuthorizationService/CheckStream';
const ADMIN = '/postern.v1.AdminService';
const TOKEN = 'token-of-the-billing-service';
const OPERATOR = 'operator-token-0123456789abcdef';
const UNIMPLEMENTED = '12';
const EXHAUSTED = '8';
const UNAUTHENTICATED = '16';

/** A server of its own for a group of tests. */
function serving(grpc: object, limits: object = {}, environment = {}): () => Serving {
  let server: Serving | undefined;
  beforeAll(async () => {
    server = await serve(['--demo'], {
      settings: JSON.stringify({
        catalog: `${PACKAGE_ROOT}/config/actions.yaml`,
        default_roles: `${PACKAGE_ROOT}/config/roles.yaml`,
        store: 'embedded:store',
        grpc: { address: '127.0.0.1:0', ...grpc },
        http: { address: '127.0.0.1:0' },
        // A busy machine is late, which is not what is looked at here.
        limits: { max_lag_ms: 0, ...limits },
        audit: { sinks: [] },
        log: { level: 'silent' },
      }),
      environment,
    });
  });
  afterAll(() => server?.dispose());
  return () => {
    if (server === undefined) throw new Error('there is no server');
    return server;
  };
}

/** A CheckRequest that is allowed in the demo tenant. */
function question(padding = 0): Buffer {
  const writer = new Writer();
  if (padding > 0) writer.string(1, 'x'.repeat(padding));
  writer.string(2, 'demo');
  writer.message(3, () => writer.string(2, 'alice'));
  writer.string(6, 'read');
  writer.message(7, () => writer.string(3, 'work.projects.api'));
  return writer.finish();
}

const MIB = 1_048_576;
/** 100 KB that inflate to 100 MB. */
const GZIP = gzipSync(Buffer.alloc(100 * MIB));
const LARGE = frame(Buffer.alloc(4 * MIB));
const BOMBS = {
  gzip: ['gzip', frame(GZIP, true)],
  deflate: ['deflate', frame(deflateSync(Buffer.alloc(100 * MIB)), true)],
  'gzip in gzip': ['gzip', frame(gzipSync(GZIP), true)],
  'gzip after gzip': ['gzip', frame(Buffer.concat([GZIP, GZIP]), true)],
  'many small ones': [
    'gzip',
    Buffer.concat(Array(500).fill(frame(gzipSync(Buffer.alloc(4 * MIB)), true))),
  ],
} as const satisfies Record<string, readonly [string, Buffer]>;

/** Many calls at once, on several connections; the statuses that came, and how much memory that took, MiB. */
async function flood(
  { grpc, child }: Serving,
  calls: number,
  make: (
    call: (
      ...args: readonly [string, Buffer, Record<string, string>?, boolean?]
    ) => Promise<RawAnswer>,
  ) => Promise<RawAnswer>,
): Promise<{ readonly statuses: readonly string[]; readonly grownMiB: number }> {
  const { pid = 0 } = child;
  forgetPeak(pid);
  const before = peakMiB(pid);
  const connections = await Promise.all(Array.from({ length: 4 }, () => connectRaw(grpc)));
  const answers = await Promise.all(
    Array.from({ length: calls }, (_, n) =>
      make((...args) => {
        const connection = connections[n % connections.length];
        if (connection === undefined) throw new Error('there is no connection');
        return connection.call(...args);
      }),
    ),
  );
  for (const connection of connections) connection.close();
  return { statuses: answers.map(({ status }) => status), grownMiB: peakMiB(pid) - before };
}

const kinds = (statuses: readonly string[]): readonly string[] => [...new Set(statuses)].toSorted();

describe('what no client sends', () => {
  const running = serving({});

  it('is told in our words: no message, two of them, an unknown method', async () => {
    const connection = await connectRaw(running().grpc);
    const [none, two, unknown] = await Promise.all([
      connection.call(CHECK, Buffer.alloc(0)),
      connection.call(CHECK, Buffer.concat([frame(question()), frame(question())])),
      connection.call('/postern.v1.AuthorizationService/Chess', frame(question())),
    ]);
    expect(none).toMatchObject({ status: UNIMPLEMENTED });
    expect(none.message).toBe('the call ended without a message: send one, which may be empty');
    expect(two).toMatchObject({ status: UNIMPLEMENTED });
    expect(two.message).toBe('the call has more than one message: send one');
    expect(unknown).toMatchObject({ status: UNIMPLEMENTED });
    expect(unknown.message).toContain(
      'there is no method `/postern.v1.AuthorizationService/Chess`',
    );
    connection.close();
  });

  it.each([
    '',
    '5',
    'S',
    '123456789m',
    '000000001S',
    '1 S',
    ' 1S',
    '1.5S',
    '-1S',
    '+1S',
    '1s',
    '1SS',
    '0x1S',
    '1S, 2S',
    '1e3m',
  ])('grpc-timeout `%s` is refused by its name', async (timeout) => {
    const connection = await connectRaw(running().grpc);
    const answer = await connection.call(CHECK, frame(question()), { 'grpc-timeout': timeout });
    // HTTP/2 itself takes blanks around a value away.
    if (timeout.trim() === '1S') expect(answer.status).toBe('0');
    else {
      expect(answer.status).toBe('3');
      expect(answer.message).toContain('grpc-timeout: ');
      expect(answer.message).toContain('1 to 8 digits');
    }
    connection.close();
  });
});

describe('compression is off', () => {
  const running = serving({});

  it.each(Object.entries(BOMBS))('%s is refused unread', async (_name, [encoding, bytes]) => {
    for (const path of [CHECK, STREAM]) {
      const { statuses, grownMiB } = await flood(running(), 100, (call) =>
        call(path, bytes, { 'grpc-encoding': encoding }),
      );
      expect(kinds(statuses)).toEqual([UNIMPLEMENTED]);
      expect(grownMiB).toBeLessThan(100);
    }
  });

  it('says so, with what is accepted, and answers what is not compressed', async () => {
    const connection = await connectRaw(running().grpc);
    const ask = (encoding: string, body: Buffer): Promise<RawAnswer> =>
      connection.call(CHECK, body, encoding === '' ? {} : { 'grpc-encoding': encoding });
    for (const encoding of ['gzip', 'deflate', 'br', 'gzip, identity', 'GZIP']) {
      const refused = await ask(encoding, frame(gzipSync(question()), true));
      expect(refused.status).toBe(UNIMPLEMENTED);
      expect(refused.headers['grpc-accept-encoding']).toBe('identity');
      expect(refused.message).toContain(`grpc-encoding: \`${encoding}\` is not accepted here`);
      expect(refused.message).toContain('grpc.compression');
    }
    for (const encoding of ['', 'identity']) {
      const answered = await ask(encoding, frame(question()));
      expect(answered.status).toBe('0');
      expect(answered.headers['grpc-accept-encoding']).toBe('identity');
      // Marked as compressed, and no encoding says how.
      expect((await ask(encoding, frame(gzipSync(question()), true))).status).toBe('13');
    }
    connection.close();
  });

  it.each(['99999999H', '99999999M', '99999999S', '2147484S', '597H', '35792M', '99999999m'])(
    'a deadline of %s is far away',
    async (timeout) => {
      const connection = await connectRaw(running().grpc);
      const answer = await connection.call(CHECK, frame(question()), { 'grpc-timeout': timeout });
      expect(answer.status).toBe('0');
      connection.close();
    },
  );
});

describe('compression is on', () => {
  const running = serving({ compression: ['gzip', 'deflate'] }, { receiving_bytes: 32 * MIB });

  it('what cannot be inflated is told in our words', async () => {
    const connection = await connectRaw(running().grpc);
    const whole = gzipSync(question());
    for (const [encoding, body] of [
      ['gzip', Buffer.from('no gzip')],
      ['gzip', whole.subarray(0, -9)],
      ['deflate', whole],
      ['gzip', Buffer.alloc(0)],
    ] as const) {
      const answer = await connection.call(CHECK, frame(body, true), { 'grpc-encoding': encoding });
      expect(answer.status).toBe('13');
      expect(answer.message).toContain('a message cannot be inflated: it is damaged');
    }
    connection.close();
  });

  it.each(Object.entries(BOMBS))('%s is bounded', async (_name, [encoding, bytes]) => {
    for (const path of [CHECK, STREAM]) {
      const { statuses, grownMiB } = await flood(running(), 100, (call) =>
        call(path, bytes, { 'grpc-encoding': encoding }),
      );
      // In a stream, what is no question is answered as such.
      if (path === CHECK) expect(statuses).not.toContain('0');
      expect(grownMiB).toBeLessThan(250);
    }
    const connection = await connectRaw(running().grpc);
    const asked = await connection.call(CHECK, frame(gzipSync(question()), true), {
      'grpc-encoding': 'gzip',
    });
    expect([asked.status, asked.headers['grpc-accept-encoding']]).toEqual([
      '0',
      'identity,gzip,deflate',
    ]);
    connection.close();
  });
});

describe('one way of compression', () => {
  const running = serving({ compression: ['gzip'] });

  it('does not let in the other', async () => {
    const connection = await connectRaw(running().grpc);
    const refused = await connection.call(CHECK, frame(deflateSync(question()), true), {
      'grpc-encoding': 'deflate',
    });
    expect([refused.status, refused.headers['grpc-accept-encoding']]).toEqual([
      UNIMPLEMENTED,
      'identity,gzip',
    ]);
    connection.close();
  });
});

describe('callers are judged by their headers', () => {
  const token_sha256 = createHash('sha256').update(TOKEN).digest('hex');
  const running = serving(
    { compression: ['gzip'], callers: [{ name: 'billing', token_sha256 }] },
    {},
    { POSTERN_ADMIN_TOKEN: OPERATOR },
  );

  it.each(['', 'Bearer wrong', `Basic ${TOKEN}`, `Bearer ${'x'.repeat(5_000)}`])(
    'with `authorization: %s` nothing is inflated, and nothing is received',
    async (authorization) => {
      const headers = authorization === '' ? {} : { authorization };
      for (const [body, encoding] of [
        [BOMBS.gzip[1], 'gzip'],
        [LARGE, 'identity'],
      ] as const) {
        const { statuses, grownMiB } = await flood(running(), 100, (call) =>
          call(CHECK, body, { 'grpc-encoding': encoding, ...headers }),
        );
        expect(kinds(statuses)).toEqual([UNAUTHENTICATED]);
        expect(grownMiB).toBeLessThan(100);
      }
    },
  );

  it.each([
    '',
    'Bearer',
    'Bearer wrong',
    'Bearer pk.YWNtZQ.azE.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    'Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJhIn0.',
  ])('so are those of AdminService: `%s`', async (authorization) => {
    const headers = authorization === '' ? {} : { authorization };
    const { statuses, grownMiB } = await flood(running(), 100, (call) =>
      call(`${ADMIN}/BatchCreateUsers`, LARGE, headers),
    );
    expect(kinds(statuses)).toEqual([UNAUTHENTICATED]);
    expect(grownMiB).toBeLessThan(100);
  });

  it('who may call is answered', async () => {
    const connection = await connectRaw(running().grpc);
    const authorization = `Bearer ${TOKEN}`;
    expect((await connection.call(CHECK, frame(question()), { authorization })).status).toBe('0');
    const operator = { authorization: `Bearer ${OPERATOR}` };
    const users = new Writer();
    users.string(1, 'demo');
    const listed = await connection.call(`${ADMIN}/ListUsers`, frame(users.finish()), operator);
    expect(listed.status).toBe('0');
    connection.close();
  });
});

describe('messages that are being received', () => {
  const running = serving({});

  it('600 of 4 MiB at once take no more than their bound, and the rest is refused by its name', async () => {
    let told = '';
    // Never whole: what was taken stays taken until the deadline.
    const begun = LARGE.subarray(0, MIB);
    const { statuses, grownMiB } = await flood(running(), 600, async (call) => {
      const answer = await call(CHECK, begun, { 'grpc-timeout': '8S' }, false);
      if (answer.status === EXHAUSTED) told = answer.message;
      return answer;
    });
    expect(kinds(statuses)).not.toContain('0');
    expect(statuses.filter((one) => one === EXHAUSTED).length).toBeGreaterThan(500);
    expect(told).toContain('limits.receiving_bytes');
    expect(grownMiB).toBeLessThan(250);
    const connection = await connectRaw(running().grpc);
    // All of it has been given back.
    await expect.poll(async () => (await connection.call(CHECK, LARGE)).status).not.toBe(EXHAUSTED);
    connection.close();
  });
});

describe('small bounds', () => {
  const running = serving({ max_message_bytes: MIB }, { receiving_bytes: 4 * MIB });

  it('messages of a CheckStream count until they are answered, and come for ever', async () => {
    const connection = await connectRaw(running().grpc);
    const large = frame(question(MIB / 2));
    const thirty = Buffer.concat(Array<Buffer>(30).fill(large));
    for (let round = 0; round < 3; round++)
      expect((await connection.call(STREAM, thirty)).status).toBe('0');
    connection.close();
  });

  it('a message over its size is refused by the name of the limit', async () => {
    const connection = await connectRaw(running().grpc);
    for (const path of [CHECK, STREAM]) {
      const answer = await connection.call(path, frame(question(MIB)));
      expect(answer.status).toBe(EXHAUSTED);
      expect(answer.message).toContain(`at most ${MIB} are read, see \`grpc.max_message_bytes\``);
    }
    connection.close();
  });
});
